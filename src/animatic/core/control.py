"""A control: one idea from one paper that takes part in sampling. It can change a step in four places, its four verbs.

| verb        | question                             | type                                      |
|-------------|--------------------------------------|-------------------------------------------|
| `condition` | what is the model conditioned on     | Conditioning -> Conditioning              |
| `attend`    | how is attention computed            | (call, q, k, v, mask) -> output           |
| `denoise`   | what does the model predict          | (x, step, cond) -> prediction             |
| `steer`     | which sample does the step begin at  | x -> x, at every noise level and at clean |

A method is a list of controls. They nest in list order: the first is the outermost, and each calls as `inner` what
comes after it in the list, down to the network.

    @dataclass
    class Brighter(Control):  # multiplies the conditional prediction
        factor: float = 1.1

        def denoise(self, inner, x, step, cond):
            return self.factor * inner(x, step, cond)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ..errors import AnimaticError
from ..scene import Scene
from .backbone import Backbone
from .encoded_prompt import EncodedPrompt, segments
from .schedule import Schedule
from .types import Attend, AttentionCall, Conditioning, Denoise, Step

if TYPE_CHECKING:
    from ..timeline import Timeline


@dataclass(frozen=True)
class Run:
    """The run that a control takes part in: the model, its noise levels, and what the samples are made of.

    `x`: the first sample (pure noise), `[sample, channel, frame, height, width]`. `cond`: the conditioning before any
    control's `condition`; None where a control is used outside the loop. `seeds`: those of the samples' noise, for
    controls that draw noise of their own. `scenes`: one scene or story a sample, in the wording of the method, so that
    their prompts are the texts that were encoded; () where the run has prompts alone. `guidance`: the guidance scale.
    `added`: the scenes of samples that a control has evaluated besides (see `Control.added_scenes`).
    """

    backbone: Backbone
    schedule: Schedule
    x: Tensor
    cond: Conditioning | None = None
    seeds: Sequence[int] = ()
    scenes: Sequence[Scene | Timeline] = ()
    guidance: float = 1.0
    added: Sequence[Scene | Timeline] = ()

    def seed(self, sample: int) -> int:
        """The seed of a sample's noise; 0 where it is not known."""
        return self.seeds[sample] if self.seeds else 0

    @property
    def tokens_per_prompt(self) -> int:
        """Tokens of each prompt in the conditioning, where those of a story form one sequence."""
        if self.cond is None:
            return self.backbone.text.limit

        # shorter stories of a batch are padded to the longest
        parts = [len(segments(scene)) for scene in self.scenes]
        most = max(parts, default=1)
        tokens = self.cond.text.shape[1]
        return tokens // most

    @property
    def prompts(self) -> list[EncodedPrompt]:
        """The texts that were encoded, one prompt a sample."""
        return self._encoded(self.scenes)

    @property
    def evaluated(self) -> Sequence[Scene | Timeline]:
        """The scenes of all evaluations: those of the samples, then the added ones; see `Conditioning.scenes`."""
        return (*self.scenes, *self.added)

    @property
    def evaluated_prompts(self) -> list[EncodedPrompt]:
        """The texts of `evaluated`."""
        return self._encoded(self.evaluated)

    def _encoded(self, scenes: Sequence[Scene | Timeline]) -> list[EncodedPrompt]:
        """The prompt of each scene or story."""
        size = self.tokens_per_prompt
        return [EncodedPrompt.of(scene, self.backbone.text, size) for scene in scenes]

    @property
    def timelines(self) -> list[Timeline]:
        """The stories of the run; [] where its samples are single scenes."""
        return [scene for scene in self.scenes if not isinstance(scene, Scene)]

    def scenes_for(self, control: Control) -> Sequence[Scene | Timeline]:
        """The scenes. Raises `AnimaticError` where the run has none, which this control cannot do without."""
        if not self.scenes:
            name = type(control).__name__
            raise AnimaticError(f"{name} needs scenes, and the run has prompts alone; want sample(..., scenes=[...])")
        return self.scenes


def bound(default: Any = MISSING) -> Any:
    """A dataclass field of a control that `begin` binds: it is no setting, and is neither shown nor compared."""
    return field(init=False, repr=False, compare=False, default=default)


class Control:
    """One idea from one paper. Override one or two verbs; every default is the identity.

    The public fields of a control are settings alone: numbers, names, choices, functions to call. What belongs to one
    run (scenes, prompts, the guidance scale) comes with `Run` and is bound by `begin`. `needs` are capabilities that
    the backbone must list in `provides`; they are checked before anything runs. A control raises `AnimaticError` where
    its settings do not suit the run.

    Where it belongs in a list (see `core.order`): `stands_around` names the classes that must come after it, `only_one`
    says that a list holds one of its class at most, and `guides` that it evaluates both branches of guidance.
    `reads_attention` says that it must see every layer of every pass, so that no features are reused.
    """

    needs: frozenset[str] = frozenset()
    stands_around: ClassVar[frozenset[str]] = frozenset()
    only_one: ClassVar[bool] = False
    guides: ClassVar[bool] = False
    reads_attention: ClassVar[bool] = False

    def added_scenes(self, run: Run) -> Sequence[Scene | Timeline]:
        """Scenes that it has evaluated besides those of the samples: controls of attention and boxes need them too."""
        return ()

    def begin(self, run: Run) -> Control:
        """The control that takes part in one run; `Control()`, which changes nothing, where this one has no part in it.

        A control that keeps state returns a fresh copy of itself here and never writes to itself, so that one object
        serves any number of runs.
        """
        return self

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        """The conditioning of an evaluation of the network at the noise level `step`."""
        return cond

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """The output `[batch, head, query, channel of v]` of one attention layer.

        `q`, `k` and `v` are `[batch, head, token, channel]`; `batch` is `call.entries_per_branch` for each branch, one
        branch after the other. `mask` is added to the logits and broadcasts to `[batch, head, query, key]`. `v` may
        hold more channels than a head has: see `core.attention.attention_with_columns`.
        """
        return inner(call, q, k, v, mask)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        """The prediction for `x` `[sample, channel, frame, height, width]`, in the terms of the model's scheduler.

        It has one entry for each entry of `x` that `inner` was given.
        """
        return inner(x, step, cond)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        """The sample from which the solver takes `step`, in the scheduler's units; the result where `step.clean`."""
        return x
