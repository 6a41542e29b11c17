"""Whether the plain values of a request are of the kinds that it wants, before anything is computed."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from .core.seeds import check_seed
from .errors import AnimaticError
from .request import GenerationRequest
from .scene import Scene


def check_story(story: Any) -> None:
    """Raise `AnimaticError` where what is to be shown is not a tuple of scenes."""
    if isinstance(story, (str, Scene)) or not isinstance(story, Sequence):
        raise AnimaticError(f"story is {repr(story)[:60]}; want a list of scenes")
    if not story:
        raise AnimaticError("the story has no scenes; want at least one")
    for scene in story:
        if not isinstance(scene, Scene):
            raise AnimaticError(f"scene is {repr(scene)[:60]}; want a Scene, such as animatic.plan makes of a prompt")


def check_numbers(request: GenerationRequest) -> None:
    """Raise `AnimaticError` where the seed, the steps or the frames are no whole numbers."""
    sampling = request.sampling
    check_seed(sampling.seed)
    for name in ("steps", "frames"):
        value = getattr(sampling, name)
        if value is not None and not isinstance(value, numbers.Integral):
            raise AnimaticError(f"{name} is {value!r}; want a whole number")


def sides_of(size: Any) -> tuple[int, int]:
    """(width, height) as they were given. Raises where these are no two whole numbers."""
    sides = tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, numbers.Integral) for side in sides):
        raise AnimaticError(f"size is {size!r}; want (width, height) in pixels, such as (64, 64)")
    return sides
