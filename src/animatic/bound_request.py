"""A request bound to a model: what it makes of each story, and what a video's file carries of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from .controls.windows import Windows
from .core.backbone import Backbone
from .core.control import Control
from .core.order import check_guided, check_order, sorted_controls
from .core.schedule import Schedule
from .core.setting_values import Value
from .durations import clip_frames, frame_rate, length_note
from .errors import AnimaticError
from .first_image import FirstImage
from .methods import Method
from .methods.effect import check_settings, unkept_absence, unused_controls, without_effect
from .methods.requirements import check_method
from .prompting.styles import styled
from .request import GenerationRequest
from .scene import Scene, Story
from .timeline import Timeline, WindowLayout, check_memory, check_no_frames, timeline_of


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

        # in windows the videos of a batch are evaluated together: their windows must be the same
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

        # the image takes the first frame, and the memory is that of all videos
        frames = self.frame_count(shown)
        if self.image is not None and frames == 1:
            raise AnimaticError("frames is 1, which the image itself would be; want more, or no image")
        latent_shape = geometry.latent(frames, height, width, windowed=self.windowed)
        latents = math.prod(latent_shape)
        check_memory(frames * len(shown), height, width, latents * len(shown))
        return shown

    def frame_count(self, shown: Sequence[Scene | Timeline]) -> int:
        """Frames that are denoised of each video; scenes in one batch have as many, and so have timelines."""
        first = shown[0]
        if isinstance(first, Timeline):
            return self.backbone.geometry.pixel_frames(first.plan.frames)
        return clip_frames(shown, self.backbone.geometry, self.frames)

    def video_frames(self, shown: Scene | Timeline) -> int:
        """Frames of a video before its finishing stages: scenes that fade into one another overlap."""
        frames = self.frame_count([shown])
        return frames - sum(shown.crossfades) if isinstance(shown, Timeline) else frames

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

        # controls that the model can serve, in an order in which they work together
        controls = self.method.on(self.backbone)
        check_method(self.method.name, controls, self.backbone)
        try:
            check_order(controls)
            check_guided(controls)
        except AnimaticError as error:
            raise AnimaticError(f"method {self.method.name!r}: {error}") from None

        # a method without windows of its own gets plain ones
        if self.windowed and not any(isinstance(control, Windows) for control in controls):
            controls = sorted_controls([*controls, Windows()])
        return controls

    def notes(self, shown: Scene | Timeline, controls: Sequence[Control]) -> list[str]:
        """What the user should know: no effect of the method, unknown background or word, a clip of another length."""
        # of the method; controls are asked one by one where it has an effect
        notes = [without_effect(self.method.name, controls, shown), unkept_absence(self.method.name, controls, shown)]
        if not notes[0]:
            notes += unused_controls(self.method.name, controls, shown, self.schedule, self.backbone)

        scenes = (shown,) if isinstance(shown, Scene) else shown.scenes
        notes += dict.fromkeys(map(self.backbone.background_note, scenes))
        notes += dict.fromkeys(map(self.backbone.word_note, scenes))

        # of the clip's length and the image's size
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
