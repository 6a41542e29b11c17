"""Backbones: frozen generators behind one interface. `load` finds one by name, folder or hub id."""

from .load import PRESETS, concat_conditioning_of, load

__all__ = ["PRESETS", "concat_conditioning_of", "load"]
