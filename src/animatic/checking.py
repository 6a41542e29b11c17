"""What can never be done, found before any work: a queue or a run of many jobs asks once."""

from __future__ import annotations

from .binding import bind
from .core.backbone import Backbone
from .first_image import ImageLike
from .methods import MethodLike
from .request import GenerationRequest


def check(
    request: GenerationRequest,
    backbone: Backbone,
    method: MethodLike | None = None,
    image: ImageLike | None = None,
) -> list[str]:
    """What will be without effect, a line each. Raises `AnimaticError` where a request can never be answered.

    For queues and runs of many jobs, which ask once before the first.
    """
    bound = bind(request, backbone, method, image)
    (shown,) = bound.shown([request.story])
    controls = bound.controls([shown])
    return bound.notes(shown, controls)
