"""Methods: a name and a recipe, which is a list of controls for some scenes on a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from ..backbones.base import Backbone
from ..errors import AnimaticError
from ..sampling import Control
from ..scene import Scene
from .backward import backward_guidance
from .baselines import layout_attention, none
from .lvd import lvd

Recipe = Callable[[Sequence[Scene], Backbone, float], list[Control]]  # scenes, model, guidance scale -> controls

METHODS: dict[str, Recipe] = {
    "none": none,
    "lvd": lvd,
    "backward-guidance": backward_guidance,
    "layout-attention": layout_attention,
}


def recipe_named(name: str) -> Recipe:
    """A recipe by name: of METHODS, or of an installed package's entry point in the group `animatic.methods`."""
    if name in METHODS:
        return METHODS[name]
    others = entry_points(group="animatic.methods")
    if name in others.names:
        return others[name].load()
    raise AnimaticError(f"unknown method {name!r}; known: {', '.join([*METHODS, *sorted(others.names)])}")
