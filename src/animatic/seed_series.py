"""Several seeds of one request: the model is bound and the texts are encoded once, the videos come one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .binding import bind, load_model
from .callbacks import Watchers, together
from .core.backbone import Backbone
from .core.seeds import check_seed
from .core.types import Conditioning
from .denoising import encode
from .errors import AnimaticError
from .first_image import ImageLike
from .generation import check_bound_stages, finished, sampled
from .methods import MethodLike
from .request import GenerationRequest
from .video import Video


@dataclass
class EncodedOnce:
    """Encodes texts, and returns the same conditioning as long as the texts stay the same.

    It serves the renders of one model with one first image.
    """

    _shown: Sequence[Any] | None = None
    _cond: Conditioning | None = None

    def __call__(self, shown: Sequence[Any], backbone: Backbone) -> Conditioning:
        if self._cond is None or self._shown != shown:
            self._cond = encode(shown, backbone)
            self._shown = shown
        return self._cond


def generate_seeds(
    request: GenerationRequest,
    seeds: Sequence[int],
    model: Backbone | None = None,
    callbacks: Watchers = (),
    *,
    method: MethodLike | None = None,
    image: ImageLike | None = None,
) -> Iterator[Video]:
    """The video of each seed, as `generate` makes it, one after another in the order of `seeds`.

    One video at a time is in memory, so that a model needs no more of it than for one; `generate_batch` samples
    several at once. The other arguments are those of `generate`.

    Raises:
        AnimaticError: before any work, where the request has edits or given latents, a seed is not 0..2**63 - 1, or
            something cannot be done.

    """
    if request.edits or request.inverted or request.noise:
        raise AnimaticError("a request with edits or given latents has one seed; want generate")
    checked = [check_seed(seed) for seed in seeds]
    reports = together(callbacks)
    bound = bind(request, model or load_model(request), method, image)
    check_bound_stages(bound)
    encoder = EncodedOnce()

    # what raises is above: the body of a generator would wait for the first video
    def videos() -> Iterator[Video]:
        for seed in checked:
            (video,) = sampled(bound, [request.story], [seed], reports, encoder=encoder)
            if request.finishing.stages:
                reports.on_render(video)
                video = finished(video, request.with_sampling(seed=seed), reports)
            yield video

    return videos()
