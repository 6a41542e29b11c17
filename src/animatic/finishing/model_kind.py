"""What a model of a finishing stage can do, known by its configurations before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass

from ..backbones.components import Components
from ..backbones.load import concat_conditioning_of, found_at
from ..backbones.locating import locate
from ..core.backbone import ConcatConditioning


@dataclass(frozen=True)
class ModelKind:
    """What stages need to know of a model before its weights are read; `name` is for messages."""

    name: str
    provides: frozenset[str]
    concat_conditioning: ConcatConditioning | None = None

    @staticmethod
    def of(backbone: Components) -> ModelKind:
        return ModelKind(backbone.name, backbone.provides, backbone.concat_conditioning)

    @staticmethod
    def named(name: str) -> ModelKind:
        """That of the model called `name` (see `locate`), by its configurations."""
        found = found_at(locate(name))
        return ModelKind(found.name, found.cls.provides, concat_conditioning_of(name))
