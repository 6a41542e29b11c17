"""The controls of edits, and the noise of a video that is to be edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .binding import BoundRequest
from .controls.edits import FollowSource, LocalBlend, PromptToPrompt
from .controls.reweight import Reweight
from .controls.sharing import ShareKV
from .core.backbone import Backbone
from .core.control import Control
from .core.types import Step
from .errors import AnimaticError
from .inversion import Unguided, invert
from .scene import Scene, Story
from .story_edit import Edit, word_pattern
from .video import Video

EARLY = 2 / 50  # of the run: while weights alone change, layout is taken over in these first steps (DiTCtrl)


def edit_controls(
    bound: BoundRequest, controls: list[Control], stories: Sequence[Story], inverted: bool
) -> list[Control]:
    """The method's controls with those of the request's edits. `inverted`: the noise is that of a given video."""
    if bound.request.edits:
        style, as_published = bound.method.prompt_style, bound.method.reweights_as_published
        worded = [tuple(map(style, story)) for story in stories]
        controls = edited(controls, worded, bound.request.edits, bound.backbone, as_published, bound.windowed)
    return [*controls, Unguided()] if inverted else controls


def inverted_noise(bound: BoundRequest, video: Video | None) -> tuple[BoundRequest, Tensor]:
    """The noise that a video would have been made from, one row for each edit and its source, and how to sample it.

    Raises `AnimaticError` where the video is missing, is another one, or is not of the size that the model makes.
    """
    request, backbone, (width, height) = bound.request, bound.backbone, bound.size
    if video is None:
        raise AnimaticError(f"the request edits the frames of another video ({request.inverted}); want that video")
    if request.inverted != video.digest:
        raise AnimaticError(f"the video has the digest {video.digest}, and the request is of {request.inverted!r}")
    if len(request.story) != 1:
        raise AnimaticError("a video is inverted under the words of one scene; found a story")
    if video.frames.shape[1:3] != (height, width):
        got = f"{video.frames.shape[2]}x{video.frames.shape[1]}"
        raise AnimaticError(
            f"the video measures {got}; {backbone.name} edits {width}x{height}: want --size or a resized copy"
        )
    count, geometry, steps = len(video), backbone.geometry, bound.schedule.steps
    whole = geometry.pixel_frames(geometry.latent(count, height, width)[1])  # raises where a clip is too long

    # latent frames hold several frames each: the last one is repeated until they are full, and cut off again later
    frames = np.pad(video.frames, ((0, whole - count), (0, 0), (0, 0), (0, 0)), mode="edge")
    latents = backbone.to_latents(torch.from_numpy(frames)[None])
    latents = latents.to(backbone.noise([0], 1, height, width))

    # under the scene's own words, without guidance
    (scene,) = bound.worded(request.story)
    noise = invert(latents, backbone.encode([scene.prompt], [""]), backbone, steps)
    rows = noise.expand(1 + len(request.edits), *noise.shape[1:])

    solver = "flow" if bound.schedule.flow else "ddim"
    sampled = replace(
        bound,
        request=request.with_sampling(frames=count),
        schedule=backbone.schedule(steps, solver),
        scheduler=solver,
        windowed=False,
    )
    return sampled, rows


def edited(
    controls: list[Control],
    stories: Sequence[Sequence[Scene]],
    edits: Sequence[Edit],
    backbone: Backbone,
    as_published: bool = False,
    in_windows: bool = False,
) -> list[Control]:
    """A method's controls, and those of edits around and inside them: sample 0 is the source, the others follow it.

    `stories` are as the method words them. `as_published`: words are weighted in the unconditional rows too, and where
    nothing but weights changes, layout is taken over in all layers, as in DiTCtrl's own code. `in_windows`: whether the
    stories are evaluated in windows; a method's own sharing between these serves the edit too.
    """
    prompts = [[scene.prompt for scene in story] for story in stories]
    for sample, edit in enumerate(edits, 1):
        if edit.swap and prompts[sample] == prompts[sample - 1]:
            text = " | ".join(prompts[sample])
            raise AnimaticError(f"{', '.join(map(repr, edit.swap))} is not in the text that is encoded, {text!r}")

    factors: dict[tuple[int, int], dict[int, float]] = {}
    for sample in range(1, len(stories)):
        for edit in edits[:sample]:
            for word, factor in edit.weight.items():
                # a word that an earlier edit weighted may be exchanged by now; the last edit's must be there
                for part, token in _tokens(backbone, prompts[sample], word, wanted=edit is edits[sample - 1]):
                    factors.setdefault((sample, part), {})[token] = factor
    weights: list[Control] = [Reweight(factors, negative=as_published)] if factors else []

    if backbone.chain(Step(0, 1, 0.0)):
        follows: list[Control] = []
        for sample, texts in enumerate(prompts):
            if sample:
                follows.append(FollowSource((0.0, EARLY) if texts == prompts[0] else FollowSource.during, (sample,)))
        only_weights = as_published and all(texts == prompts[0] for texts in prompts)
        if not in_windows:
            controls = [control for control in controls if not isinstance(control, ShareKV)]
        has_own = any(isinstance(control, ShareKV) for control in controls)
        shares = [] if has_own else [ShareKV(("*",) if only_weights else None)]
        inside = [*follows, *shares, *weights]
    else:
        inside = [*weights, PromptToPrompt()]
    return [*_blends(stories, prompts, edits, backbone), *controls, *inside]


def _blends(
    stories: Sequence[Sequence[Scene]], prompts: Sequence[Sequence[str]], edits: Sequence[Edit], backbone: Backbone
) -> list[Control]:
    """Where an edit blends, its sample may differ from the one before only at its words."""
    blends: list[Control] = []
    for sample, edit in enumerate(edits, 1):
        if not edit.blend:
            continue
        if not (edit.swap or edit.weight):
            raise AnimaticError("blending needs words that are swapped or weighted; a new prompt names none")
        words: list[list[tuple[int, int]]] = [[] for _ in stories]
        for at, exchanged in ((sample - 1, edit.swap), (sample, edit.swap.values())):
            words[at] = [place for word in exchanged for place in _tokens(backbone, prompts[at], word)]
            words[at] += [p for word in edit.weight for p in _tokens(backbone, prompts[at], word, wanted=at == sample)]
        blends.append(LocalBlend(words, source=sample - 1, targets=(sample,)))
    return blends


def _tokens(backbone: Backbone, prompts: Sequence[str], word: str, wanted: bool = True) -> list[tuple[int, int]]:
    """Where a word stands in the prompts of a story's parts: (part, token). Raises where it is `wanted` and nowhere."""
    places = [
        (part, token)
        for part, prompt in enumerate(prompts)
        if word_pattern(word).search(prompt)
        for token in backbone.text.positions(prompt, word)
    ]
    if wanted and not places:
        raise AnimaticError(f"word {word!r} is not in the prompt {' | '.join(prompts)!r}")
    return places
