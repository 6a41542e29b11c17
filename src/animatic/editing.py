"""A video made again with other words: words exchanged, added, or given more or less weight; the rest stays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Unpack

import torch
from torch import Tensor

from .backbones.base import Backbone
from .controls.edits import Follow, LocalBlend, PromptToPrompt, Reweight
from .controls.sharing import ShareKV
from .errors import AnimaticError
from .inversion import invert
from .methods import Recipe
from .methods.ditctrl import sharing_sites
from .rendering import How, Take
from .sampling import Control, Step
from .scene import Scene
from .text import told
from .video import Video

EARLY = 2 / 50  # of the run: while weights alone change, layout is taken over in these first steps (DiTCtrl)


@dataclass(frozen=True)
class Edit:
    """What is to be other. `swap` words for others, `prompt` is a whole new one, `weight` is a factor by word.

    `blend`: only where the exchanged (or weighted) words are looked at may anything change.
    """

    swap: Mapping[str, str] = field(default_factory=dict)
    weight: Mapping[str, float] = field(default_factory=dict)
    prompt: str = ""
    blend: bool = False

    def __post_init__(self) -> None:
        for word, factor in self.weight.items():
            if not isfinite(factor):
                raise AnimaticError(f"weight of {word!r} is {factor}; want a finite number, such as 2 or 0.5")
        if not (self.swap or self.weight or self.prompt):
            raise AnimaticError("the edit changes nothing; want words to swap, weights or a new prompt")

    def of(self, scene: Scene) -> Scene:
        """The scene with its words exchanged, in prompt, background and names. Raises where a word is not there."""
        if self.prompt:
            scene = replace(scene, prompt=self.prompt, tracks=(), background="")
        for old, new in self.swap.items():
            if not _word(old).search(told(scene)):
                raise AnimaticError(f"word {old!r} is not in the prompt {told(scene)!r}")

            def said(text: str, old: str = old, new: str = new) -> str:
                return _word(old).sub(new, text)

            tracks = tuple(replace(t, phrase=said(t.phrase), prompt=said(t.prompt)) for t in scene.tracks)
            scene = replace(scene, prompt=said(scene.prompt), background=said(scene.background), tracks=tracks)
        return scene


def _word(words: str) -> re.Pattern[str]:
    if not words.strip():
        raise AnimaticError("a word to change is empty; want a word of the prompt")
    return re.compile(rf"(?<!\w){re.escape(words.strip())}(?!\w)", re.IGNORECASE)


def render_edit(
    scene: Scene,
    edit: Edit,
    model: str | Backbone = "mini",
    method: str | Recipe = "none",
    seed: int = 0,
    *,
    video: Video | None = None,
    **how: Unpack[How],
) -> tuple[Video, Video]:
    """The scene as it is and as edited, from the same noise: source, target. See `How` for the rest.

    On transformers as DiTCtrl does it, through shared keys and values; on UNets by prompt-to-prompt. With `video`, of
    the model's size, the noise is that of the video, found by inversion under the scene's own words.
    """
    take, noise, scenes = Take.of(model, method, **how), None, [scene, edit.of(scene)]
    prompts = [told(each) for each in scenes]
    controls = edited(take.controls(scenes), prompts, edit, take.backbone)
    if video is not None:
        take, row = _backwards(take, video, prompts[0])
        noise = torch.cat([row, row])
    source, target = take.videos(scenes, [seed, seed], controls, noise)
    return (source, target) if video is None else (replace(source, fps=video.fps), replace(target, fps=video.fps))


def _backwards(take: Take, video: Video, prompt: str) -> tuple[Take, Tensor]:
    """The noise that a video would have been made from, and the take that makes it of it."""
    backbone, steps, (width, height) = take.backbone, len(take.schedule), take.size
    if video.frames.shape[1:3] != (height, width):
        got = f"{video.frames.shape[2]}x{video.frames.shape[1]}"
        raise AnimaticError(f"the video measures {got}; {backbone.name} edits {width}x{height}")
    latents = backbone.to_latents(torch.from_numpy(video.frames.copy())[None])
    latents = latents.to(backbone.noise([0], 1, height, width))
    noise = invert(latents, backbone.encode([prompt], [""]), backbone, steps)
    schedule = backbone.schedule(steps, "flow" if take.schedule.flow else "ddim")
    return replace(take, frames=len(video), schedule=schedule), noise


def edited(controls: list[Control], prompts: Sequence[str], edit: Edit, backbone: Backbone) -> list[Control]:
    """A method's controls, and those of an edit around and inside them."""
    factors = {
        token: factor
        for word, factor in edit.weight.items()
        for token in _tokens(backbone, prompts[-1], word)
    }  # fmt: skip
    weights = [Reweight(dict.fromkeys(range(1, len(prompts)), factors))] if factors else []
    if backbone.chain(Step(0, 1, 0.0)):
        same = all(prompt == prompts[0] for prompt in prompts)
        follows = [Follow((0.0, EARLY)) if same else Follow(), ShareKV(sharing_sites(backbone)), *weights]
    else:
        follows = [*weights, PromptToPrompt(prompts)]
    if not edit.blend:
        return [*controls, *follows]
    words = [[*edit.swap, *edit.weight], [*edit.swap.values(), *edit.weight]]
    if not words[0]:
        raise AnimaticError("blending needs words that are swapped or weighted; a new prompt names none")
    tokens = [[t for w in words[min(i, 1)] for t in _tokens(backbone, p, w)] for i, p in enumerate(prompts)]
    return [LocalBlend(tokens), *controls, *follows]


def _tokens(backbone: Backbone, prompt: str, word: str) -> tuple[int, ...]:
    if not _word(word).search(prompt):
        raise AnimaticError(f"word {word!r} is not in the prompt {prompt!r}")
    return backbone.text.positions(prompt, word)
