"""Backbones: frozen generators behind one interface. `load` finds one by name or by folder."""

from .load import PRESETS, load

__all__ = ["PRESETS", "load"]
