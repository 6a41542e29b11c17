"""Backbones: frozen generators behind one interface. `load` finds one by name or by folder."""

from .load import PRESETS, concat_conditioning_of, load

__all__ = ["PRESETS", "concat_conditioning_of", "load"]
