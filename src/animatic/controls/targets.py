"""Which tokens belong to which boxes: the positions of each object's phrase in the prompt, and the cells it covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.control import Run
from ..core.text import ClipText
from ..errors import AnimaticError
from ..scene import Scene
from ..timeline import Timeline

Group = tuple[tuple[int, ...], tuple[int, ...]]  # (tokens, tracks) of the objects that share a target


@dataclass
class Targets:
    """Pairs of one token and one object (or several of the same words), over all samples of a batch.

    `tokens` `[sample, token]`: the map request. `samples`, `columns` `[pair]`: where in the requested maps a pair's
    attention is. `weights` `[pair]`: they sum to 1 for each sample. `objects`: each pair's sample and tracks. `frames`:
    latent frames. `legacy`: boxes are rounded to cells as in LMD and LVD. `tokens_per_prompt`: where every word is
    requested, `tokens` holds this many for each prompt that names an object, one prompt after the other. Masks are
    built once per layer size.
    """

    tokens: Tensor
    samples: Tensor
    columns: Tensor
    weights: Tensor
    scenes: Sequence[Scene]
    objects: list[tuple[int, tuple[int, ...]]]
    frames: int
    legacy: bool
    tokens_per_prompt: int = 0
    _masks: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def in_run(
        cls, scenes: Sequence[Scene], run: Run, legacy: bool = False, every_word: bool = False,
        separate_objects: bool = False,
    ) -> Targets:  # fmt: skip
        """Targets of scenes, or stories, in the prompts that a run was conditioned on. See `of`."""
        tokens_per_prompt = 0
        if run.cond is not None:
            prompts = max((parts_of(scene) for scene in scenes), default=1)
            tokens_per_prompt = run.cond.text.shape[1] // prompts
        return cls.of(
            scenes, run.backbone.text, run.x.shape[2], run.x.device, legacy, every_word, tokens_per_prompt,
            separate_objects,
        )  # fmt: skip

    @classmethod
    def of(
        cls,
        scenes: Sequence[Scene],
        text: ClipText,
        frames: int,
        device: torch.device,
        legacy: bool = False,
        every_word: bool = False,
        tokens_per_prompt: int = 0,
        separate_objects: bool = False,
    ) -> Targets:
        """Targets of one scene or story a sample, for latents of `frames` frames.

        Objects of the same words have the same tokens and are one target, with `separate_objects` one each (LVD).
        `every_word`: request all tokens of the prompts that name objects. `tokens_per_prompt`: length of each prompt
        in the conditioning, where those of a story form one sequence; 0: the text encoder's limit. Raises
        `AnimaticError` where a phrase is not in its prompt.
        """
        tokens_per_prompt = tokens_per_prompt or text.limit
        requests: list[list[int]] = []
        samples: list[int] = []
        columns: list[int] = []
        weights: list[float] = []
        objects: list[tuple[int, tuple[int, ...]]] = []
        for sample, scene in enumerate(scenes):
            groups = _groups(scene, text, tokens_per_prompt, separate_objects)
            request = _request(groups, tokens_per_prompt if every_word else 0)
            requests.append(request)

            # groups weigh the same, and so do the tokens of a group
            for tokens, tracks in groups:
                for token in tokens:
                    samples.append(sample)
                    columns.append(request.index(token))
                    weights.append(1 / (len(tokens) * len(groups)))
                    objects.append((sample, tracks))

        # requests are padded to one length with token 0, whose maps no pair reads
        longest = max(1, *map(len, requests))
        padded = [request + [0] * (longest - len(request)) for request in requests]
        return cls(
            tokens=torch.tensor(padded, device=device),
            samples=torch.tensor(samples, dtype=torch.long, device=device),
            columns=torch.tensor(columns, dtype=torch.long, device=device),
            weights=torch.tensor(weights, device=device),
            scenes=scenes,
            objects=objects,
            frames=frames,
            legacy=legacy,
            tokens_per_prompt=tokens_per_prompt,
        )

    def masks(self, height: int, width: int) -> Tensor:
        """Cells inside a pair's boxes: float `[pair, frame, height, width]`, 0 or 1."""
        if (height, width) not in self._masks:
            made = [torch.from_numpy(s.masks(self.frames, height, width, self.legacy)) for s in self.scenes]
            pairs = [made[sample][list(tracks)].any(0) for sample, tracks in self.objects]
            masks = torch.stack(pairs) if pairs else torch.zeros(0, self.frames, height, width)
            self._masks[height, width] = masks.float().to(self.tokens.device)
        return self._masks[height, width]

    def per_sample(self, values: Tensor) -> Tensor:
        """The weighted sum of `values` `[pair]` over the pairs of each sample: `[sample]`."""
        return values.new_zeros(len(self.tokens)).index_add(0, self.samples, values * self.weights)


def _groups(scene: Scene, text: ClipText, tokens_per_prompt: int, separate_objects: bool) -> list[Group]:
    """The objects of a scene or story that share a target, in the order of their first track."""
    groups: dict[tuple, list[int]] = {}
    for i, track in enumerate(scene.tracks):
        prompt, part = scene.part(i)
        positions = text.positions(part.prompt, track.phrase)
        if not positions:
            raise AnimaticError(f"phrase {track.phrase!r} is not in the prompt {part.prompt!r}; name it there")
        tokens = tuple(prompt * tokens_per_prompt + position for position in positions)
        key = (tokens, i) if separate_objects else (tokens,)
        groups.setdefault(key, []).append(i)
    return [(tokens, tuple(tracks)) for (tokens, *_), tracks in groups.items()]


def _request(groups: Sequence[Group], tokens_per_prompt: int) -> list[int]:
    """The tokens to request for these groups; with `tokens_per_prompt` all of each prompt that names one."""
    named = dict.fromkeys(token for tokens, _ in groups for token in tokens)
    if not tokens_per_prompt:
        return list(named)
    prompts = sorted({token // tokens_per_prompt for token in named})
    return [prompt * tokens_per_prompt + i for prompt in prompts for i in range(tokens_per_prompt)]


def parts_of(scene: Scene | Timeline) -> int:
    """How many prompts a sample is conditioned on: one for each scene of a story."""
    return len(scene.scenes) if isinstance(scene, Timeline) else 1
