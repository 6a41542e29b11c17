"""What is checked before a job is taken in, and again at its turn: its request, its lengths, its memory."""

from __future__ import annotations

from ..backbones.components import Components
from ..binding import bind, needs_windows
from ..finishing.checks import planned_shapes, resolved
from ..finishing.stage import Shape
from ..finishing.stages import stages_of
from ..generation import render_shape
from ..methods import method_named
from .images import image_of
from .job_request import JobRequest
from .limits import Limits
from .log import Log, Refused
from .loras import Loras
from .memory import KEPT_FREE, check_memory, gibibytes
from .models import Models


class JobChecks:
    """The part of `work.Studio` that says no."""

    models: Models
    loras: Loras
    limits: Limits
    log: Log
    _free_at_first: int

    def check(self, wanted: JobRequest) -> None:
        """Raise where it cannot be done, as far as that is known before: of a model that is not loaded, less."""
        request = wanted.generation
        for _, each in wanted.requests:
            method_named(each.method)
        if model := self.models.loaded(request, self.loras):
            # what the job at hand takes now is free again when this one's turn comes
            self._check_on(wanted, model, self._free_at_first)

    @property
    def room(self) -> int:
        """Bytes that a job may take when its turn comes: what the job at hand takes is free again then."""
        return self._room(self._free_at_first)

    def _room(self, free: int) -> int:
        """Bytes that a job may take where so many are free."""
        own = gibibytes(self.limits.memory)
        return min(own, free) if own else max(0, free - KEPT_FREE)

    def _check_on(self, wanted: JobRequest, model: Components, free: int) -> list[str]:
        """Raise where a model cannot do it, a scene is longer than may be, or memory does not suffice.

        Returns what will be without effect.
        """
        request = wanted.generation
        image = image_of(self.log.folder, request)
        notes = wanted.check(model, image)

        # scenes of a story last their seconds, so that no number of frames was checked
        if needs_windows(request.story, model, request.sampling.frames):
            for i, scene in enumerate(request.story, 1):
                if (frames := round(scene.seconds * model.geometry.fps)) > self.limits.frames:
                    raise Refused(f"scene {i} has {frames} frames; at most {self.limits.frames} here")
        for _, each in wanted.requests:
            check_memory(bind(each, model, image=image), model, request.model, self._room(free))
        if request.finishing.stages:
            self.check_stages(request.finishing.stages, render_shape(bind(request, model, image=image)), model.family)
        return notes

    def check_stages(self, text: str, shape: Shape, source_model: str) -> None:
        """Raise where finishing stages would make a larger video than may be."""
        limits = self.limits
        for after in planned_shapes(shape, resolved(stages_of(text), source_model)):
            if max(after.width, after.height) > limits.side or after.frames > 8 * limits.frames:
                size = f"{after.frames} frames of {after.width}x{after.height}"
                raise Refused(f"that makes {size}; at most {8 * limits.frames} of {limits.side} here")
