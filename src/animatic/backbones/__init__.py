"""Backbones: frozen generators behind one interface. `load` finds one by name or by folder."""

from .load import PRESETS, beside_of_model, load

__all__ = ["PRESETS", "beside_of_model", "load"]
