"""Warnings of how a model is used where nobody says which one it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import counted, listed, warn
from .components import Components

if TYPE_CHECKING:
    from .load import Found


def warn_of_usage(model: Components, found: Found) -> None:
    """Warn how a model is used where nobody says which one it is."""
    has_card = {"geometry", "defaults"} <= found.card.keys()
    if found.alike:
        _warn_of_recognised(model, found)
    elif not found.known and not has_card:
        _warn_of_defaults(model, found.folder)


def _warn_of_defaults(model: Components, folder: Path) -> None:
    """Warn of the defaults that a model without a card is used with."""
    warn(f"{folder}: no animatic.json says how the model is used: {_usage(model)}")


def _warn_of_recognised(model: Components, found: Found) -> None:
    """Warn which known model a folder was taken for, and with what defaults it is used."""
    name, *others = found.alike
    scheduler = model.defaults.scheduler or type(model.scheduler).__name__
    warning = f"{found.folder}: taken for {name} by its configuration: {_usage(model)}, {scheduler}"
    if others:
        warning += f"; {listed(others)} has the same one, which animatic card --model {others[0]} would say"
    warn(warning)


def _usage(model: Components) -> str:
    size = model.geometry
    defaults = model.defaults
    length = f"{counted(size.frames, 'frame')} of {size.width}x{size.height}"
    frames = f"{length} at {size.fps:g} a second"
    return f"{frames}, {defaults.steps} steps, guidance {defaults.guidance:g}"
