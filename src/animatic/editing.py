"""A video made again with other words: words exchanged, added, or given more or less weight; the rest stays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from .controls.edits import FollowSource, LocalBlend, PromptToPrompt
from .controls.reweight import Reweight
from .controls.sharing import ShareKV
from .core.backbone import Backbone
from .core.control import Control
from .core.types import Step
from .errors import AnimaticError
from .generation import How, Take, check_scenes
from .inversion import Unguided, invert
from .methods import MethodLike
from .request import Edit, word_pattern
from .scene import Scene, Story
from .video import Video

EARLY = 2 / 50  # of the run: while weights alone change, layout is taken over in these first steps (DiTCtrl)


def render_edit(
    source: Scene | Story,
    edit: Edit | Sequence[Edit],
    model: str | Backbone = "mini",
    method: MethodLike = "none",
    seed: int = 0,
    *,
    video: Video | None = None,
    overlap: float | None = None,
    transitions: int | None = None,
    longer_middle: int | None = None,
    **how: Unpack[How],
) -> tuple[Video, Video]:
    """A scene, or a story in windows, as it is and as edited, from the same noise: source, target.

    Of several edits, each of what the one before made of it, these are the last two videos. On transformers as DiTCtrl
    does it, through shared keys and values; on UNets by prompt-to-prompt. With `video`, of the model's size, the noise
    is that of the video, found by inversion under the scene's own words. See `How` and `render_story` for the rest.
    """
    edits = [edit] if isinstance(edit, Edit) else list(edit)
    stories = [(source,) if isinstance(source, Scene) else source]
    for each in edits:
        stories.append(each.of_story(stories[-1]))
    check_scenes(stories[0])
    take, seeds = Take.of(model, method, **how), [seed] * len(stories)
    alike = take.method.reweights_as_published

    if isinstance(source, Scene):
        scenes, noise = [scene for (scene,) in stories], None
        controls = edited(take.controls(scenes), [take.told(story) for story in stories], edits, take.backbone, alike)
        if video is not None:
            take, row = _backwards(take, video, take.told([source])[0].prompt)
            noise, controls = row.expand(len(scenes), *row.shape[1:]), [*controls, Unguided()]
        videos = take.videos(scenes, seeds, controls, noise)
    elif video is not None:
        raise AnimaticError("a video is inverted under the words of one scene; found a story")
    else:
        layout = take.method.layout_with(overlap, transitions, longer_middle)
        timelines = take.timelines(stories, layout)
        controls = edited(
            take.windowed(timelines), [take.told(story) for story in stories], edits, take.backbone, alike, True
        )
        videos = take.films(timelines, seeds, controls, layout)

    inverted = "" if video is None else hashlib.sha256(video.frames.tobytes()).hexdigest()[:16]
    request = {**videos[0].info["request"], "inverted": inverted}
    for i, made in enumerate(videos):
        done = [asdict(edit) for edit in edits[:i]]
        info = {**made.info, "request": {**request, "edits": done}}
        videos[i] = replace(made, info=info)
        if video is not None:  # frame by frame the given one: at its times, with its sound
            videos[i] = replace(videos[i], fps=video.fps, sound=video.sound)
    return videos[-2], videos[-1]


def _backwards(take: Take, video: Video, prompt: str) -> tuple[Take, Tensor]:
    """The noise that a video would have been made from, and the take that makes it of it."""
    backbone, steps, (width, height) = take.backbone, take.schedule.steps, take.size
    if video.frames.shape[1:3] != (height, width):
        got = f"{video.frames.shape[2]}x{video.frames.shape[1]}"
        raise AnimaticError(
            f"the video measures {got}; {backbone.name} edits {width}x{height}: want --size or a resized copy"
        )
    count, geometry = len(video), backbone.geometry
    whole = geometry.pixel_frames(geometry.latent(count, height, width)[1])  # raises where a clip is too long

    # latent frames hold several frames each: the last one is repeated until they are full, and cut off again later
    frames = np.pad(video.frames, ((0, whole - count), (0, 0), (0, 0), (0, 0)), mode="edge")
    latents = backbone.to_latents(torch.from_numpy(frames)[None])
    latents = latents.to(backbone.noise([0], 1, height, width))
    noise = invert(latents, backbone.encode([prompt], [""]), backbone, steps)
    name = "flow" if take.schedule.flow else "ddim"
    return replace(take, frames=count, schedule=backbone.schedule(steps, name), scheduler=name), noise


def edited(
    controls: list[Control],
    stories: Sequence[Sequence[Scene]],
    edits: Sequence[Edit],
    backbone: Backbone,
    as_published: bool = False,
    in_windows: bool = False,
) -> list[Control]:
    """A method's controls, and those of edits around and inside them: stream 0 is the source, the others follow it.

    `stories` are as the method words them. `as_published`: words are weighted in the unconditional rows too, and where
    nothing but weights changes, layout is taken over in all layers, as in DiTCtrl's own code. `in_windows`: whether the
    stories are evaluated in windows; a method's own sharing between these serves the edit too.
    """
    prompts = [[scene.prompt for scene in story] for story in stories]
    for stream, edit in enumerate(edits, 1):
        if edit.swap and prompts[stream] == prompts[stream - 1]:
            text = " | ".join(prompts[stream])
            raise AnimaticError(f"{', '.join(map(repr, edit.swap))} is not in the text that is told, {text!r}")

    factors: dict[tuple[int, int], dict[int, float]] = {}
    for stream in range(1, len(stories)):
        for edit in edits[:stream]:
            for word, factor in edit.weight.items():
                # a word that an earlier edit weighted may be exchanged by now; the last edit's must be there
                for part, token in _tokens(backbone, prompts[stream], word, wanted=edit is edits[stream - 1]):
                    factors.setdefault((stream, part), {})[token] = factor
    weights: list[Control] = [Reweight(factors, negative=as_published)] if factors else []

    if backbone.chain(Step(0, 1, 0.0)):
        follows: list[Control] = []
        for stream, told_of in enumerate(prompts):
            if stream:
                follows.append(FollowSource((0.0, EARLY) if told_of == prompts[0] else FollowSource.during, (stream,)))
        only_weights = as_published and all(told_of == prompts[0] for told_of in prompts)
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
    """Where an edit blends, its stream may differ from the one before only at its words."""
    blends: list[Control] = []
    for stream, edit in enumerate(edits, 1):
        if not edit.blend:
            continue
        if not (edit.swap or edit.weight):
            raise AnimaticError("blending needs words that are swapped or weighted; a new prompt names none")
        words: list[list[tuple[int, int]]] = [[] for _ in stories]
        for at, exchanged in ((stream - 1, edit.swap), (stream, edit.swap.values())):
            words[at] = [place for word in exchanged for place in _tokens(backbone, prompts[at], word)]
            words[at] += [p for word in edit.weight for p in _tokens(backbone, prompts[at], word, wanted=at == stream)]
        blends.append(LocalBlend(words, source=stream - 1, targets=(stream,)))
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
