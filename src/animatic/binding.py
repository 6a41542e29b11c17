"""A request bound to a loaded model: every open value filled in, and what cannot be done refused before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, cast

from .backbones import load
from .backbones.components import Components
from .backbones.lora import with_loras
from .controls.guidance import Guidance
from .controls.windows import Windows
from .core.backbone import Backbone, MemoryOptions
from .core.control import Control
from .core.feature_reuse import FeatureCache
from .core.order import check_guided, check_order, sorted_controls
from .core.schedule import Schedule
from .core.setting_values import Value
from .core.text import truncating
from .durations import at_rate, clip_frames, frame_rate, length_note
from .errors import AnimaticError
from .first_image import FirstImage, ImageLike, check_image, first_image_of
from .methods import Method, MethodLike, as_method
from .methods.effect import check_settings, unused_controls, without_effect
from .methods.requirements import check_method
from .methods.settings import GUIDANCE, checked_settings, tuned
from .prompting.styles import styled
from .request import GenerationRequest
from .request_checks import check_numbers, check_story, sides_of
from .scene import Scene, Story
from .timeline import Timeline, WindowLayout, check_memory, check_no_frames, timeline_of

ONE_CLIP, IN_WINDOWS = "lvd", "ditctrl+lvd"  # the methods where none is requested


@dataclass(frozen=True)
class BoundRequest:
    """A request on a model. `backbone` has the requested frame rate and negative prompt.

    `scheduler` "" is the one that the model comes with; `settings` are those that differ from the method's own. `image`
    is the one that the video begins with.
    """

    request: GenerationRequest
    backbone: Backbone
    method: Method
    settings: Mapping[str, Value]
    schedule: Schedule
    scheduler: str
    guidance: float
    size: tuple[int, int]
    layout: WindowLayout
    windowed: bool
    image: FirstImage | None = None

    @property
    def frames(self) -> int | None:
        """The requested number of frames."""
        return self.request.sampling.frames

    def shown(self, stories: Sequence[Story]) -> list[Scene | Timeline]:
        """Each story as the model shows it: one scene at once, or a timeline in windows.

        Raises `AnimaticError` where a story does not suit the request, or the videos would not fit into memory.
        """
        geometry = self.backbone.geometry
        width, height = self.size
        shown: list[Scene | Timeline] = []
        if self.windowed:
            check_no_frames(self.frames)
            timelines = [timeline_of(story, geometry, self.layout) for story in stories]
            windows = timelines[0].plan.windows
            if any(timeline.plan.windows != windows for timeline in timelines):
                raise AnimaticError("stories of one batch have different windows; want scenes of the same lengths")
            shown += timelines
        else:
            for story in stories:
                if len(story) != 1:
                    raise AnimaticError(f"{len(story)} scenes without windows; want a single scene, or windows")
            shown += [story[0] for story in stories]

        frames = self.frame_count(shown)
        if self.image is not None and frames == 1:
            raise AnimaticError("frames is 1, which the image itself would be; want more, or no image")
        latent_shape = geometry.latent(frames, height, width, windowed=self.windowed)
        latents = math.prod(latent_shape)
        check_memory(frames * len(shown), height, width, latents * len(shown))
        return shown

    def frame_count(self, shown: Sequence[Scene | Timeline]) -> int:
        """Frames of each video; scenes in one batch have as many, and so have timelines."""
        first = shown[0]
        if isinstance(first, Timeline):
            return self.backbone.geometry.pixel_frames(first.plan.frames)
        return clip_frames(shown, self.backbone.geometry, self.frames)

    def frame_rate(self, shown: Scene | Timeline) -> float:
        """Frames per second of a video."""
        geometry = self.backbone.geometry
        if isinstance(shown, Timeline):
            return geometry.fps
        return frame_rate(shown, geometry, self.frames, self.request.sampling.fps)

    def worded(self, shown: Sequence[Any]) -> list[Any]:
        """Scenes or timelines in the wording of the method: their prompts are the texts that are encoded."""
        return styled(shown, self.method.prompt_style)

    def controls(self, shown: Sequence[Scene | Timeline]) -> list[Control]:
        """The method's controls for scenes or timelines, with windows among them where these are needed.

        Raises `AnimaticError` where the model cannot show a scene, or cannot do what a control needs.
        """
        for scene in cast("Sequence[Scene]", shown):  # which has the tracks of a timeline too
            self.backbone.check_scene(scene)
        check_settings(self.method.name, self.settings, shown)
        controls = self.method.on(self.backbone)
        check_method(self.method.name, controls, self.backbone)
        try:
            check_order(controls)
            check_guided(controls)
        except AnimaticError as error:
            raise AnimaticError(f"method {self.method.name!r}: {error}") from None
        if self.windowed and not any(isinstance(control, Windows) for control in controls):
            controls = sorted_controls([*controls, Windows()])
        return controls

    def notes(self, shown: Scene | Timeline, controls: Sequence[Control]) -> list[str]:
        """One line where the method has no effect on a scene, one where its clip lasts otherwise than it says."""
        notes = [without_effect(self.method.name, controls, shown)]
        if not notes[0]:
            notes += unused_controls(self.method.name, controls, shown, self.schedule, self.backbone)
        if isinstance(shown, Scene):
            fps = self.request.sampling.fps
            notes.append(length_note(shown, self.backbone, self.frames, fps))
        if self.image is not None:
            multiple = self.backbone.geometry.vae_spatial_ratio * max(self.backbone.geometry.patch[1:])
            notes.append(self.image.note(*self.size, multiple))
        return [note for note in notes if note]

    def complete(self, story: Story, seed: int, shown: Scene | Timeline) -> GenerationRequest:
        """The request for one of the videos with nothing left open: what its file carries."""
        backbone = self.backbone
        memory = backbone.memory
        sampling = replace(
            self.request.sampling,
            seed=seed,
            steps=self.schedule.steps,
            guidance=self.guidance,
            frames=None if self.windowed else self.frame_count([shown]),
            fps=self.frame_rate(shown),
            size=self.size,
            scheduler=self.scheduler,
            negative=backbone.defaults.negative,
        )
        if memory is not None:
            sampling = replace(
                sampling,
                dtype=memory.dtype,
                quantize=memory.quantize,
                offload=memory.offload,
                save_memory=memory.save_memory,
            )

        # the layout of windows is the method's, or as requested: what was used
        windows = replace(self.request.windows, enabled=self.windowed)
        if self.windowed:
            layout = self.layout
            windows = replace(
                windows,
                overlap=layout.overlap,
                transitions=layout.transitions,
                longer_middle=layout.longer_middle,
            )
        return replace(
            self.request,
            story=story,
            model=backbone.reference or backbone.name,
            loras=backbone.loras,
            embeddings=backbone.embeddings,
            method=self.method.name,
            settings=dict(self.settings),
            sampling=sampling,
            windows=windows,
            image_digest=self.image.digest if self.image is not None else "",
        )


def load_model(request: GenerationRequest) -> Components:
    """The model of a request, its LoRAs and embeddings added, with its memory options."""
    options = request.sampling
    memory = MemoryOptions(options.dtype, options.quantize, options.offload, options.save_memory)

    # as they are typed, FILE:SCALE[:NETWORK]; repr keeps every digit of the scale
    files = [f"{file}:{scale!r}:{network}".rstrip(":") for file, scale, network in request.loras]
    chosen = with_loras(request.model, files, memory, request.embeddings)
    return load(chosen) if isinstance(chosen, str) else chosen


def bind(
    request: GenerationRequest,
    backbone: Backbone,
    method: MethodLike | None = None,
    image: ImageLike | None = None,
) -> BoundRequest:
    """A request on a model, or with `method` in place of the one that it names, `image` where it names none.

    Raises `AnimaticError` where the model does not make so many frames of that size, or in so many steps, and where a
    setting of the method is unknown or out of range.
    """
    sampling = request.sampling
    check_story(request.story)
    check_numbers(request)
    backbone = at_rate(backbone, sampling.fps)
    backbone = _with_own_negative(backbone, sampling.negative)
    geometry = backbone.geometry
    defaults = backbone.defaults
    if sampling.guidance is not None and not math.isfinite(sampling.guidance):
        raise AnimaticError(f"guidance is {sampling.guidance}; want a finite number, such as {defaults.guidance:g}")
    size = sampling.size or (geometry.width, geometry.height)
    width, height = sides_of(size)
    frames = geometry.frames if sampling.frames is None else sampling.frames
    backbone.check_size(frames, height, width)

    # windows, and the method where none is requested
    windowed = request.windows.enabled
    if windowed is None:
        windowed = needs_windows(request.story, backbone, sampling.frames)
    chosen = request.method or (IN_WINDOWS if windowed else ONE_CLIP) if method is None else method
    plain = as_method(chosen)

    first_image = first_image_of(request, image)
    check_image(first_image, backbone, request, windowed)
    feature_cache_of(request, backbone)  # raises where there is none to be had

    if plain.truncates_prompts:
        backbone = truncating(backbone)

    # among the settings, the guidance scale is the option by another name
    values = checked_settings(plain, request.settings, backbone)
    guidance = sampling.guidance
    scales = [value for path, value in values.items() if path in GUIDANCE and isinstance(value, float)]
    if guidance is not None and any(scale != guidance for scale in scales):
        raise AnimaticError(f"guidance is {guidance:g}, and {scales[0]:g} in the settings; want one of them")
    changed = tuned(plain, values, backbone)
    if guidance is None:
        guidance = changed.guidance_on(backbone)

    # the scheduler of the request, of the method, or of the model
    scheduler = sampling.scheduler or plain.scheduler or defaults.scheduler
    steps = defaults.steps if sampling.steps is None else sampling.steps
    try:
        schedule = backbone.schedule(steps, scheduler)
    except AnimaticError as error:
        if sampling.scheduler or not plain.scheduler:
            raise
        raise AnimaticError(f"method {plain.name!r} comes with a scheduler of its own: {error}") from None
    for control in changed.on(backbone):
        if isinstance(control, Guidance):
            control.check(guidance if control.scale is None else control.scale, schedule)
    windows = request.windows
    layout = plain.layout_with(windows.overlap, windows.transitions, windows.longer_middle)
    settings = {path: value for path, value in values.items() if path not in GUIDANCE}
    return BoundRequest(
        request,
        backbone,
        changed,
        settings,
        schedule,
        scheduler,
        float(guidance),
        (width, height),
        layout,
        windowed,
        first_image,
    )


def feature_cache_of(request: GenerationRequest, backbone: Backbone) -> FeatureCache | None:
    """What reuses features where the request is `fast`. Raises `AnimaticError` where the model has nothing to reuse."""
    if not request.sampling.fast:
        return None
    cache = backbone.feature_cache()
    if cache is None:
        hint = "want it without, or a U-Net or transformer of several levels or blocks"
        raise AnimaticError(f"fast is on, and nothing in {backbone.name} can be reused between steps; {hint}")
    return cache


def needs_windows(story: Story, backbone: Backbone, frames: int | None) -> bool:
    """Whether a story is made in windows: not if it is one scene that is a still, short, or of `frames` at once."""
    geometry = backbone.geometry
    (scene, *others) = story
    if others:
        return True
    if geometry.frames == 1 or frames is not None:
        return False

    # half a frame more is rounded away
    wanted = scene.seconds * geometry.fps
    return wanted > geometry.frames + 0.5


def _with_own_negative(backbone: Backbone, negative: Any) -> Backbone:
    """`backbone` with `negative` in place of its own negative prompt, where controls with runs of their own read it."""
    if negative is None:
        return backbone
    if not isinstance(negative, str):
        raise AnimaticError(f"negative is {negative!r}; want words, or '' for none")

    # a shallow copy: the caller's model keeps its own, and shares its weights
    backbone = copy(backbone)
    backbone.defaults = replace(backbone.defaults, negative=negative)
    return backbone
