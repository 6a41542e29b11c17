"""The cells of the matrix: a method on a model in a situation, and what comes of it.

A cell works, is the same as the model alone (and says so), or is refused in one line. What a method claims to change is
measured where that is cheap: the energy before and after its gradient steps, and how much of the attention of the
objects' words is inside their boxes.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tiny
import torch
from matrix_models import first_image, loaded
from torch import Tensor

from animatic.backbones.components import Components
from animatic.binding import needs_windows
from animatic.callbacks import Callback
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.energy import Energy
from animatic.controls.grounding import Gligen
from animatic.controls.guidance import Guidance
from animatic.controls.regions import Regions
from animatic.core.control import Control
from animatic.core.model_options import MemoryOptions
from animatic.core.types import Conditioning, Denoise, Step
from animatic.errors import AnimaticError
from animatic.generation import generate_batch
from animatic.methods import METHODS
from animatic.methods.method import ANY, Method
from animatic.rendering import request_of
from animatic.scene import Scene, Story, Track
from animatic.timeline import Timeline

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.25, 1.0, 1.0)
PROMPT = "a cat and a dog"
TWO = (Track("cat", (LEFT, RIGHT)), Track("dog", (RIGHT, LEFT)))
ABSENT = (Track("cat", (LEFT, RIGHT)), Track("dog", (None, LEFT)))
STILL = (Track("cat", (LEFT,)), Track("dog", (RIGHT,)))

SITUATIONS: dict[str, tuple[Story, ...]] = {
    "two tracks": ((Scene(PROMPT, TWO, seconds=1),),),
    "absent box": ((Scene(PROMPT, ABSENT, seconds=1),),),
    "still": ((Scene(PROMPT, STILL, seconds=0),),),
    "story of 2": ((Scene(PROMPT, TWO, seconds=1), Scene("the dog runs", (Track("dog", (LEFT,)),), seconds=1)),),
    "2.5 x native": ((Scene(PROMPT, TWO, seconds=2.5),),),
    "batch of 2": ((Scene(PROMPT, TWO, seconds=1),), (Scene("a red dog", (Track("dog", (RIGHT,)),), seconds=1),)),
}
"""By name: the stories of a batch. A clip is one second long, see `matrix_models.loaded`."""

ALL = list(SITUATIONS)
REFUSED = Path(__file__).with_name("matrix_refused.json")
PAIRS = "CogVideoX 1.5"  # its windows hold a latent frame more than a clip has seconds for

TWO_STEPS = ("Wan 2.2 A14B", "LTX-Video")  # a second network that one step never comes to; no schedule of one step
SAME = re.compile("the video is that of 'none'|as by 'none'")  # the note of a method without effect
SEED = 1


@dataclass
class Cell:
    """What came of a method on a model in a situation.

    `status`: "works", "same" (as the model alone, and a note says so), "refused", or a fault: "silent" (the same
    without a note), "not finite", "crash". `reason`: of what is not "works". `evaluations`: of the network. `change`:
    of the latents, against the model alone in the same words, relative to their norm. `energies`: before and after the
    gradient steps of the first noise level, of each sample, of the scene. `inside`: the fraction of the attention of
    the objects' words that is inside their boxes at the first noise level; None where no layer has it.
    """

    status: str
    reason: str = ""
    evaluations: int = 0
    change: float = 0.0
    energies: list[tuple[float, float]] = field(default_factory=list)
    inside: float | None = None
    inside_alone: float | None = None


def stories_of(family: str, situation: str) -> tuple[Story, ...]:
    """The batch of a situation on a family."""
    stories = SITUATIONS[situation]
    if family != PAIRS:
        return stories

    # a scene between others lasts no shorter than a window
    longer = []
    for story in stories:
        scenes = [replace(scene, seconds=2.0) if len(story) > 1 else scene for scene in story]
        longer.append(tuple(scenes))
    return tuple(longer)


def refused() -> set[tuple[str, str, str]]:
    """The cells (method, family, situation) that are to be refused; `runs/matrix.py` writes the file."""
    cells = set()
    for method, families in json.loads(REFUSED.read_text("utf-8")).items():
        for family, situations in families.items():
            names = ALL if situations == "all" else situations
            cells |= {(method, family, situation) for situation in names}
    return cells


def write_refused(cells: Collection[tuple[str, str, str]]) -> None:
    """Write the file that `refused` reads."""
    found: dict[str, dict[str, Any]] = {}
    for method, family, situation in sorted(cells, key=lambda cell: (cell[0], cell[1], ALL.index(cell[2]))):
        found.setdefault(method, {}).setdefault(family, []).append(situation)
    lines = []
    for method, families in found.items():
        short = {family: "all" if names == ALL else names for family, names in families.items()}
        lines.append(f" {json.dumps(method)}: {json.dumps(short)}")
    REFUSED.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


class Matrix:
    """The models, made and loaded once, and the model alone in each situation, rendered once.

    `memory`: how they are loaded, such as in half precision.
    """

    def __init__(self, root: Path, memory: MemoryOptions | None = None) -> None:
        self._root = root
        self._memory = memory
        self._models: dict[str, Components] = {}
        self._alone: dict[Any, tuple[Tensor, float | None]] = {}
        self._sam = ""

    def model(self, family: str) -> Components:
        if family not in self._models:
            self._models[family] = loaded(family, self._root, self._memory)
        return self._models[family]

    def cell(self, method: str, family: str, situation: str, settings: Mapping[str, Any] | None = None) -> Cell:
        """Render it, perhaps with settings of the method. What is no `AnimaticError` is raised as it is."""
        model = self.model(family)
        evaluations: list[int] = []
        hooks = [network.register_forward_pre_hook(lambda *_: evaluations.append(1)) for network in model.networks]
        try:
            with _energies() as energies:
                latents, inside, notes = self._render(METHODS[method], family, situation, settings)
        except AnimaticError as error:
            return Cell("refused", str(error), len(evaluations))
        finally:
            for hook in hooks:
                hook.remove()

        alone, inside_alone = self._model_alone(METHODS[method], family, situation)
        difference = float((latents - alone).norm() / alone.norm())
        cell = Cell("works", "", len(evaluations), difference, energies, inside, inside_alone)
        if not bool(latents.isfinite().all()):
            return replace(cell, status="not finite")
        if method != "none" and difference < 1e-6:
            said = [note for note in notes if SAME.search(note) and method in note]
            return replace(cell, status="same" if said else "silent", reason=said[0] if said else "")
        return cell

    def _model_alone(self, method: Method, family: str, situation: str) -> tuple[Tensor, float | None]:
        """The model without the method's controls, in the method's words, at its guidance and in its windows."""
        key = (family, situation, method.prompt_style, repr(method.guidance), method.scheduler, method.layout)
        if key not in self._alone:
            name = "alone:published" if method.name.endswith(":published") else "alone"
            alone = replace(method, name=name, controls={ANY: (Guidance(),)})
            latents, inside, _ = self._render(alone, family, situation)
            self._alone[key] = latents, inside
        return self._alone[key]

    def _render(
        self, method: Method, family: str, situation: str, settings: Mapping[str, Any] | None = None
    ) -> tuple[Tensor, float | None, list[str]]:
        """Latents `[sample, ...]`, the attention inside the boxes, and the notes that were given."""
        model = self.model(family)
        stories = stories_of(family, situation)
        options: dict[str, Any] = {"steps": _steps(method, family)}
        options["settings"] = {**self._settings(method, model, stories[0]), **(settings or {})}
        own = method if method.name.startswith("alone") else None
        name = "none" if own else method.name
        requests = [request_of(story, model, name, SEED + i, **options) for i, story in enumerate(stories)]

        inside = AttentionInBoxes()
        observers = [inside] if "text maps" in model.provides else []
        with _decoded(model) as latents, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            generate_batch(requests, model, observers, method=own, image=first_image(family))
        return latents[-1], inside.fraction, [str(each.message) for each in caught]

    def _settings(self, method: Method, model: Components, story: Story) -> dict[str, Any]:
        """What a run of one step, offline, needs: keys and values are shared in it, and SAM is a tiny one."""
        settings: dict[str, Any] = {}
        controls = repr(method.on(model))
        if "ShareKV" in controls and needs_windows(story, model, None):
            settings["windows.during"] = (0.0, 1.0)
        if "SamMask" in controls:
            self._sam = self._sam or str(tiny.sam(self._root / "sam"))
            settings["composition.mask.source"] = self._sam
        return settings


def _steps(method: Method, family: str) -> int:
    """As few steps as a method and a model have a part in."""
    if "legacy=True" in repr(
        [control for own in method.controls.values() for control in own if type(control) is Gligen]
    ):
        return 3  # the whole number of steps that is a fraction of 0.4
    if method.scheduler:
        return 4
    return 2 if family in TWO_STEPS else 1


class AttentionInBoxes(Callback):
    """The fraction of the attention of the objects' words that is inside their boxes, at the first noise level."""

    def __init__(self) -> None:
        self._shown: Sequence[Scene | Timeline] = ()
        self._values: list[float] = []

    @property
    def fraction(self) -> float | None:
        """The mean over samples, objects and layers."""
        return sum(self._values) / len(self._values) if self._values else None

    def controls(self, controls: list[Control], shown: Sequence[Scene | Timeline]) -> list[Control]:
        # where every region has a prompt of its own the words have no maps
        if any(isinstance(control, Regions) for control in controls):
            return controls
        self._shown = shown
        return [AttentionMaps(lambda *_: None, steps=(0,), each=self._add), *controls]

    def _add(self, sample: int, phrase: str, layer: str, step: int, attention: Tensor) -> None:
        scene = self._shown[sample]
        masks = torch.from_numpy(scene.masks(*attention.shape)).to(attention.device)
        of_phrase = torch.tensor([track.phrase == phrase for track in scene.tracks], device=attention.device)
        box = masks[of_phrase].any(0)
        self._values.append(float((attention * box).sum() / attention.sum()))


@contextmanager
def _energies() -> Iterator[list[tuple[float, float]]]:
    """Records the energy before and after the gradient steps of the first noise level, of the last run that has one."""
    found: list[tuple[float, float]] = []
    steer = Energy.steer

    def measured(self: Energy, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        moved = steer(self, inner, x, step, cond)
        if step.index == 0 and moved is not x and not step.clean:
            before, _ = self._gradient(inner, x, step, cond)
            after, _ = self._gradient(inner, moved, step, cond)
            found[:] = zip(before.tolist(), after.tolist(), strict=True)
        return moved

    with patch.object(Energy, "steer", measured):
        yield found


@contextmanager
def _decoded(model: Components) -> Iterator[list[Tensor]]:
    """Records the latents that are decoded, the video's last."""
    latents: list[Tensor] = []
    decode = model.decode

    def recorded(clean: Tensor) -> Tensor:
        latents.append(clean)
        return decode(clean)

    with patch.object(type(model), "decode", lambda _, clean: recorded(clean)):
        yield latents
