"""Stories to clean latents: the scenes encoded, the controls nested, the first latents drawn, and the loop run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from torch import Tensor

from .binding import BoundRequest, feature_cache_of
from .callbacks import Callbacks
from .controls.finite import Finite
from .controls.first_frame import FirstFrame
from .core.backbone import Backbone
from .core.control import Control
from .core.loop import sample
from .core.seeds import check_seed
from .core.types import Conditioning
from .editing import edit_controls
from .errors import AnimaticError, warn
from .scene import Scene, Story
from .start_noise import FirstLatents, first_latents
from .timeline import Timeline
from .video import check_rate

QUOTED = 40  # characters of a prompt that a note names
Encoder: TypeAlias = Callable[[Sequence[Any], Backbone], Conditioning]


@dataclass(frozen=True)
class Denoised:
    """Clean latents, one row a story, and what they were made by.

    `worded` is `shown` in the method's wording; `reuse` says which features of the network were reused, "" for none.
    """

    latents: Tensor
    shown: Sequence[Scene | Timeline]
    worded: Sequence[Any]
    controls: list[Control]
    noise_digest: str
    reuse: str = ""


def denoised_stories(
    bound: BoundRequest,
    stories: Sequence[Story],
    seeds: Sequence[int],
    reports: Callbacks,
    noise: Tensor | None = None,
    first: FirstLatents | None = None,
    encoder: Encoder | None = None,
) -> Denoised:
    """The clean latents of each story, from `noise` (one row a story), from `first` (the same for all), or the seeds.

    `encoder` stands in for `encode`, such as one that remembers the last texts.

    Raises `AnimaticError` where the request is of other first latents.
    """
    backbone = bound.backbone
    reuse = feature_cache_of(bound.request, backbone)
    width, height = bound.size
    seeds = [check_seed(seed) for seed in seeds]
    shown = bound.shown(stories)
    for each in shown:
        check_rate(bound.frame_rate(each))

    # the model of this run, whose clips begin with the image
    if bound.image is not None:
        pixels = bound.image.fitted(width, height)
        backbone = backbone.with_image(pixels, bound.frame_count(shown))

    # the method's controls, and around and inside them those of edits
    controls = bound.controls(shown)
    for each in shown:
        beginning = each.prompt if len(each.prompt) <= QUOTED else each.prompt[: QUOTED - 1] + "…"
        scene = f"scene {beginning!r}"
        for note in bound.notes(each, controls):
            warn(note if note.startswith("scene ") else f"{scene}: {note}")
    controls = edit_controls(bound, controls, stories, noise is not None)

    worded = bound.worded(shown)
    frames = bound.frame_count(shown)
    digest = ""
    if first is not None:
        shape = backbone.geometry.latent(frames, height, width, windowed=bound.windowed)
        like = backbone.noise([0], 1, height, width)
        row, digest = first_latents(first, shape, like)
        noise = row.expand(len(stories), *row.shape[1:])
    if bound.request.noise != digest and bound.request.noise:
        raise AnimaticError(f"the request is of given latents ({bound.request.noise}); want generate(..., latents=...)")
    if noise is None:
        noise = backbone.noise(seeds, frames, height, width, windowed=bound.windowed)
    given = [] if backbone.first_frame is None else [FirstFrame(backbone.first_frame)]
    chain = [Finite(), *given, *reports.controls(controls, worded)]
    cond = (encoder or encode)(worded, backbone)
    latents = sample(
        backbone, bound.schedule, noise, cond, chain, seeds, scenes=worded, guidance=bound.guidance, reuse=reuse
    )

    # what is not exact is said
    report = reuse.report if reuse else ""
    if report:
        reports.on_note(report)
    return Denoised(latents, shown, worded, controls, digest, report)


def encode(shown: Sequence[Scene | Timeline], backbone: Backbone) -> Conditioning:
    """The conditioning of scenes, or of timelines, in the wording of a method.

    Negative prompts are the scenes' and the model's default.
    """
    if isinstance(shown[0], Timeline):
        timelines = cast("Sequence[Timeline]", shown)
        stories = [timeline.scenes for timeline in timelines]
        return encode_stories(stories, backbone)
    scenes = cast("Sequence[Scene]", shown)
    prompts = [scene.prompt for scene in scenes]
    negatives = [backbone.defaults.negative_text(scene.negative) for scene in scenes]
    return backbone.encode(prompts, negatives)


def encode_stories(stories: Sequence[Story], backbone: Backbone) -> Conditioning:
    """The texts of each story's scenes in a row: `[row, part * token, channel]`, all negative rows first."""
    prompts = [[scene.prompt for scene in story] for story in stories]
    negatives = [[backbone.defaults.negative_text(scene.negative) for scene in story] for story in stories]
    return backbone.encode_stories(prompts, negatives)
