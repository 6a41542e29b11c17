"""Values of a card `animatic.json`: each is of its field's type and range, or refused by the field's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any

from pydantic import Field

from ..core.backbone import Geometry, ModelDefaults
from ..core.model_options import UsualMethod
from ..core.setting_values import Value, choice_of, read
from ..core.types import Span
from ..errors import AnimaticError

Count = Annotated[int, Field(ge=1, le=2**20)]  # far above any model, far below what overflows a product of sizes
Rate = Annotated[float, Field(gt=0, lt=1000)]  # as a video's
Patch = tuple[Count, Count, Count]
GEOMETRY: Mapping[str, tuple[Any, Value]] = {  # of each field its type, and an example of a value
    "frames": (Count, 16),
    "height": (Count, 256),
    "width": (Count, 256),
    "channels": (Count, 4),
    "vae_spatial_ratio": (Count, 8),
    "fps": (Rate, 8.0),
    "max_frames": (Count, 1024),
    "vae_temporal_ratio": (Count, 1),
    "patch": (Patch, (1, 1, 1)),
}
DEFAULTS: Mapping[str, tuple[Any, Value]] = {
    "steps": (Count, 25),
    "guidance": (float, 7.5),
    "negative": (str, "blurry"),
    "scheduler": (str, "ddim"),
    "prompt_suffix": (str, ", high quality"),
    "low_noise_guidance": (float | None, 3.0),
    "guidance_interval": (Span, (0.0, 0.5)),
    "method": (UsualMethod, "lvd-gligen"),
}


def geometry_of(card: Mapping[str, Any]) -> Geometry:
    """The geometry of a card that has one. Raises `AnimaticError` that names the field."""
    return Geometry(**_values(card["geometry"], "geometry", GEOMETRY, Geometry))


def defaults_of(card: Mapping[str, Any]) -> ModelDefaults:
    """The defaults of a card that has them. Raises `AnimaticError` that names the field."""
    return ModelDefaults(**_values(card["defaults"], "defaults", DEFAULTS, ModelDefaults))


def words_of(card: Mapping[str, Any]) -> tuple[str, ...]:
    """The only things that the model can show; () where the card does not limit them."""
    return _names(card, "words", '["bear", "ball"]')


def backgrounds_of(card: Mapping[str, Any]) -> tuple[str, ...]:
    """The only backgrounds that the model can show; () where the card does not limit them."""
    return _names(card, "backgrounds", '["grass", "sky"]')


def _names(card: Mapping[str, Any], key: str, example: str) -> tuple[str, ...]:
    names = card.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AnimaticError(f"{key} is {repr(names)[:80]}; want a list of words, such as {example}")
    return tuple(names)


def has_coordinates(card: Mapping[str, Any]) -> bool:
    """Whether x, y and time are added to the latents as channels."""
    given = card.get("coordinates", False)
    if not isinstance(given, bool):
        raise AnimaticError(f"coordinates is {repr(given)[:80]}; want true or false")
    return given


def _values(given: Any, part: str, known: Mapping[str, tuple[Any, Value]], cls: Any) -> dict[str, Any]:
    """The fields of one part of a card, checked; those with a default may be left out."""
    if not isinstance(given, dict):
        raise AnimaticError(f"{part} is {repr(given)[:80]}; want an object with {', '.join(known)}")
    for name in given:
        if name not in known:
            raise AnimaticError(f"{part}.{name[:80]} is not known; want one of {', '.join(known)}")
    for field in fields(cls):
        if field.default is MISSING and field.name not in given:
            raise AnimaticError(f"{part}.{field.name} is missing; want it, such as {known[field.name][1]}")

    # Each value by its type.
    values = {}
    for name, value in given.items():
        hint, example = known[name]
        is_text = hint is str or choice_of(hint)
        if isinstance(value, str) and not is_text:  # the reader of typed settings would parse it
            raise AnimaticError(f"{part}.{name} is {value[:80]!r}; want a value such as {example}, without quotes")
        try:
            values[name] = read(value, hint, f"{part}.{name}", example)
        except AnimaticError:
            if hint is not Patch:
                raise
            wanted = "three whole numbers, 1 or more, such as [1, 2, 2]"
            raise AnimaticError(f"{part}.{name} is {repr(value)[:80]}; want {wanted}") from None
    return values
