"""Endpoints for what is known before a render: what it would take, and the sizes that suit a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

from pydantic import Field

from ..backbones.components import Components
from ..backbones.skeleton import skeleton
from ..binding import needs_windows, usual_method
from ..errors import AnimaticError
from ..request import GenerationRequest, SamplingOptions
from ..video import parse_size
from .estimates import estimated
from .job_request import JobRequest
from .limits import Limits, check_amounts, story_within
from .sizes import size_presets
from .takes import seeds_from
from .variation import Variation
from .work import Studio

Name = Annotated[str, Field(max_length=80)]
Count = Annotated[int, Field(ge=1)]
File = Annotated[str, Field(max_length=400)]
Guidance = Annotated[float, Field(allow_inf_nan=False)]
Value = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | float | Annotated[str, Field(max_length=2000)] | None


class EstimateEndpoints:
    """The part of `api.Api` that is about what has not been rendered."""

    studio: Studio
    limits: Limits

    def estimate(
        self,
        scene: dict[str, Any],
        model: Name = "",
        method: Name = "",
        steps: Count | None = None,
        frames: Count | None = None,
        size: Name = "",
        settings: dict[str, Value] | None = None,
        compare: list[Name] | None = None,
        guidance: Guidance | None = None,
        takes: Count = 1,
        vary: dict[str, Any] | None = None,
        fast: bool = False,
        loras: list[File] | None = None,
    ) -> dict[str, Any]:
        """What `render` with the same values would take: nothing is queued, fetched or loaded.

        "memory" in bytes, of which "weights" are the model's; "free", and whether it "fits". They are None where they
        cannot be counted or the render would be refused, and "reason" says why. "seconds" of the whole job are None
        until the model has rendered in this session. The first answer for a large model may take half a minute.
        """
        try:
            wanted, backbone, is_loaded = self._wanted(
                scene, model, method, steps, frames, size, settings, compare, guidance, takes, vary, fast, loras
            )
        except AnimaticError as error:
            # a form that is being filled in is often not yet right: that is said, and no error
            nothing = dict.fromkeys(("memory", "weights", "fits", "seconds"))
            return {**nothing, "free": self.studio.room, "reason": str(error)}
        requests = [each for _, each in wanted.requests]
        return estimated(self.studio.estimates, requests, takes, backbone, is_loaded, self.studio.room)

    def _wanted(
        self,
        scene: dict[str, Any],
        model: str,
        method: str,
        steps: int | None,
        frames: int | None,
        size: str,
        settings: Mapping[str, Any] | None,
        compare: Sequence[str] | None,
        guidance: float | None,
        takes: int,
        vary: Mapping[str, Any] | None,
        fast: bool,
        loras: Sequence[str] | None,
    ) -> tuple[JobRequest, Components, bool]:
        """The job, its model, with weights where it is loaded, and whether it is."""
        model = self.studio.models.named(model)
        sides = parse_size(size)
        others = tuple(compare or ())
        self.check_request(steps, frames, sides, others, takes)
        named = GenerationRequest(story_within(scene, self.limits), model, self.studio.loras.requested(loras or ()))
        request = replace(
            named,
            loras=self.studio.loras.files_of(named),
            method=method,
            settings=settings or {},
            sampling=SamplingOptions(0, steps, guidance, frames, None, sides, fast=fast),
        )
        loaded = self.studio.models.loaded(named, self.studio.loras)
        backbone = loaded or skeleton(model).model
        if not method:
            windowed = needs_windows(request.story, backbone, frames)
            request = replace(request, method=usual_method(backbone, windowed))

        # every video of the job: of each value, method and seed
        variation = Variation.of(vary) if vary is not None else None
        wanted = JobRequest(request, others, seeds=seeds_from(0, takes), vary=variation)
        return wanted, backbone, loaded is not None

    def sizes(self, model: Name = "") -> list[dict[str, Any]]:
        """Sizes that suit a model, its own first: [{"name", "width", "height"}]; others may be asked for, too."""
        presets = size_presets(self.studio.models.load(model), self.limits.side)
        return [asdict(preset) for preset in presets]

    def check_request(
        self,
        steps: int | None,
        frames: int | None,
        sides: tuple[int, int] | None,
        compare: Sequence[str],
        takes: int,
    ) -> None:
        """Raise `Refused` where one visitor asks for more than one may; the rest is checked with the model."""
        limits = self.limits
        amounts = [("steps is {}", steps, limits.steps), ("frames is {}", frames, limits.frames)]
        amounts += [("size is {}", side, limits.side) for side in sides or ()]
        check_amounts([*amounts, ("compare is {}", len(compare), limits.compare), ("takes is {}", takes, limits.takes)])
