"""Backbones: frozen generators behind one interface. `load` finds one by name, folder or hub id."""

from ..importing import collector_paused

# here, for whatever needs a model imports this package first
with collector_paused():
    from .load import PRESETS, concat_conditioning_of, load

__all__ = ["PRESETS", "concat_conditioning_of", "load"]
