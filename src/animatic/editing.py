"""The controls of edits, and the noise of a video that is to be edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .binding import BoundRequest
from .controls.edits import FollowSource, LocalBlend, PromptToPrompt
from .controls.regions import Regions
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
    edits = bound.request.edits
    if edits:
        method = bound.method
        if any(isinstance(control, Regions) for control in controls):
            refusal = f"method {method.name!r} has a prompt for each box, and an edit follows the words of one"
            raise AnimaticError(f"{refusal}; want another method for it, such as --method none")
        worded = [tuple(map(method.prompt_style, story)) for story in stories]
        as_published = method.reweights_as_published
        controls = edited(controls, worded, edits, bound.backbone, as_published, bound.windowed)
    if not inverted:
        return controls
    return [*controls, Unguided()]


def inverted_noise(bound: BoundRequest, video: Video | None) -> tuple[BoundRequest, Tensor]:
    """The noise that a video would have been made from, one row for each edit and its source, and how to sample it.

    Raises `AnimaticError` where the video is missing, is another one, or is not of the size that the model makes.
    """
    request = bound.request
    backbone = bound.backbone
    geometry = backbone.geometry
    width, height = bound.size

    # whether it is the video of the request, and one that can be inverted
    if video is None:
        raise AnimaticError(f"the request edits the frames of another video ({request.inverted}); want that video")
    if request.inverted != video.digest:
        raise AnimaticError(f"the video has the digest {video.digest}, and the request is of {request.inverted!r}")
    if len(request.story) != 1:
        raise AnimaticError("a video is inverted under the words of one scene; found a story")
    own_height, own_width = video.frames.shape[1:3]
    if (own_height, own_width) != (height, width):
        got = f"{own_width}x{own_height}"
        raise AnimaticError(
            f"the video measures {got}; {backbone.name} edits {width}x{height}: want --size or a resized copy"
        )

    # latent frames hold several frames each: the last one is repeated until they are full, and cut off again later
    count = len(video)
    latent_shape = geometry.latent(count, height, width)  # raises where a clip is too long
    whole = geometry.pixel_frames(latent_shape[1])
    missing = whole - count
    frames = np.pad(video.frames, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")
    pixels = torch.from_numpy(frames)[None]

    # on the device, and in the dtype, of the model's own noise
    like = backbone.noise([0], 1, height, width)
    latents = backbone.to_latents(pixels).to(like)

    # under the scene's own words, without guidance
    (scene,) = bound.worded(request.story)
    steps = bound.schedule.steps
    cond = backbone.encode([scene.prompt], [""])
    noise = invert(latents, cond, backbone, steps)
    samples = 1 + len(request.edits)
    rows = noise.expand(samples, *noise.shape[1:])

    # back by the solver that was inverted: another would not lead to the same frames
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
            words = ", ".join(map(repr, edit.swap))
            text = " | ".join(prompts[sample])
            raise AnimaticError(f"{words} is not in the text that is encoded, {text!r}")

    factors = _factors(prompts, edits, backbone)
    weights: list[Control] = []
    if factors:
        weights.append(Reweight(factors, negative=as_published))

    # transformers share keys and values (DiTCtrl), UNets follow the source's maps (prompt-to-prompt), and `mini-dit`
    # does: its one layer that would share comes too late for places
    is_transformer = bool(backbone.chain(Step(0, 1, 0.0)))
    if is_transformer and backbone.family != "mini":
        source = prompts[0]
        follows: list[Control] = []
        for sample, texts in enumerate(prompts[1:], 1):
            during = (0.0, EARLY) if texts == source else FollowSource.during
            follows.append(FollowSource(during, (sample,)))
        only_weights = as_published and all(texts == source for texts in prompts)

        # sharing between windows serves the edit too; elsewhere the edit has its own
        if not in_windows:
            controls = [control for control in controls if not isinstance(control, ShareKV)]
        has_own = any(isinstance(control, ShareKV) for control in controls)
        layers = ("*",) if only_weights else None
        shares = [] if has_own else [ShareKV(layers)]
        inside = [*follows, *shares, *weights]
    else:
        inside = [*weights, PromptToPrompt()]
    blends = _blends(stories, prompts, edits, backbone)
    return [*blends, *controls, *inside]


def _factors(
    prompts: Sequence[Sequence[str]], edits: Sequence[Edit], backbone: Backbone
) -> dict[tuple[int, int], dict[int, float]]:
    """The factors of words that edits weighted, by (sample, part) and token; a sample has those of all edits so far."""
    factors: dict[tuple[int, int], dict[int, float]] = {}
    for sample, texts in enumerate(prompts[1:], 1):
        last = edits[sample - 1]
        for edit in edits[:sample]:
            for word, factor in edit.weight.items():
                # a word that an earlier edit weighted may be exchanged by now; the last edit's must be there
                places = _tokens(backbone, texts, word, wanted=edit is last)
                for part, token in places:
                    by_token = factors.setdefault((sample, part), {})
                    by_token[token] = factor
    return factors


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

        # the words before in the source, those after in the sample; weighted ones in both
        source = sample - 1
        words: list[list[tuple[int, int]]] = [[] for _ in stories]
        for at, exchanged in ((source, edit.swap), (sample, edit.swap.values())):
            own = words[at]
            for word in exchanged:
                own += _tokens(backbone, prompts[at], word)
            for word in edit.weight:
                own += _tokens(backbone, prompts[at], word, wanted=at == sample)
        blends.append(LocalBlend(words, source=source, targets=(sample,)))
    return blends


def _tokens(backbone: Backbone, prompts: Sequence[str], word: str, wanted: bool = True) -> list[tuple[int, int]]:
    """Where a word stands in the prompts of a story's parts: (part, token). Raises where it is `wanted` and nowhere."""
    pattern = word_pattern(word)
    places = []
    for part, prompt in enumerate(prompts):
        # a form of the word (`core.text.find`) does not count: the pattern is of the word itself
        if pattern.search(prompt):
            positions = backbone.text.positions(prompt, word)
            places += [(part, token) for token in positions]
    if wanted and not places:
        text = " | ".join(prompts)
        raise AnimaticError(f"word {word!r} is not in the prompt {text!r}")
    return places
