"""Methods by name. Each has a recipe, which returns a list of controls for given scenes on a given model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from ..core.backbone import Backbone
from ..core.control import Control
from ..errors import AnimaticError
from ..scene import Scene
from . import published
from .baselines import backward_guidance, boxdiff, gligen, layout_attention, multidiffusion, none
from .ditctrl import chained, ditctrl, masked, with_gligen, with_lvd
from .lmd import lmd, lmd_plus, lmd_plus_sam, lmd_sam
from .lvd import benchmark, lvd, lvd_gligen, lvd_plus, weak

Recipe = Callable[[Sequence[Scene], Backbone, float], list[Control]]
"""(scenes, model, guidance scale) -> controls, the first outermost. A story is one scene here, a `Timeline`."""

METHODS: dict[str, Recipe] = {
    "none": none,
    "lvd": lvd,
    "lvd:weak": weak,
    "lvd:benchmark": benchmark,
    "lvd-gligen": lvd_gligen,
    "lvd+": lvd_plus,
    "lvd:published": published.lvd,
    "lvd:weak:published": published.lvd_weak,
    "lvd:benchmark:published": published.lvd_benchmark,
    "lvd-gligen:published": published.lvd_gligen,
    "lvd+:published": published.lvd_plus,
    "layout-attention": layout_attention,
    "lmd": lmd,
    "lmd:sam": lmd_sam,
    "lmd+": lmd_plus,
    "lmd+:sam": lmd_plus_sam,
    "gligen": gligen,
    "boxdiff": boxdiff,
    "backward-guidance": backward_guidance,
    "multidiffusion": multidiffusion,
    "lmd:published": published.lmd,
    "lmd+:published": published.lmd_plus,
    "gligen:published": published.gligen,
    "boxdiff:published": published.boxdiff,
    "backward-guidance:published": published.backward_guidance,
    "multidiffusion:published": published.multidiffusion,
    "ditctrl": ditctrl,
    "ditctrl:masked": masked,
    "ditctrl:chained": chained,
    "ditctrl:published": published.ditctrl,
    "ditctrl+lvd": with_lvd,
    "ditctrl+gligen": with_gligen,
}


def recipe_named(name: str) -> Recipe:
    """A recipe by name: of METHODS, or of an installed package's entry point in the group `animatic.methods`.

    Raises `AnimaticError` where there is none.
    """
    if name in METHODS:
        return METHODS[name]
    others = entry_points(group="animatic.methods")
    if name in others.names:
        return others[name].load()
    raise AnimaticError(f"unknown method {name!r}; known: {', '.join([*METHODS, *sorted(others.names)])}")
