"""The models of the studio: which may be requested, and those that are loaded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..backbones import PRESETS
from ..backbones.components import Components
from ..backbones.skeleton import skeleton
from ..binding import IN_WINDOWS, load_model
from ..core.backbone import ModelDefaults
from ..core.model_options import DEFAULT_MODEL, MODEL_OF_WORDS
from ..errors import AnimaticError
from ..request import GenerationRequest
from .log import Refused
from .loras import Added, Loras

OFFERED = (DEFAULT_MODEL, MODEL_OF_WORDS)  # where the studio is started without any


class Models:
    """Models by name; `names` are the only ones that can be requested, the first where "" is.

    A plain model stays once it is loaded. Of those with LoRAs the last one of each name does: strengths are free, so
    that there is no end of them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._plain: dict[str, Components] = {}
        self._with_loras: dict[str, tuple[Added, Components]] = {}
        self._loading = threading.Lock()

    def named(self, name: str) -> str:
        """A requested name, or the first one for "". Raises `Refused` where it may not be requested."""
        name = name or self.names[0]
        self.check(name)
        return name

    def load(self, name: str) -> Components:
        """A model by name, loaded when it is first requested. Raises `Refused` where it may not be."""
        name = self.named(name)
        with self._loading:
            if name not in self._plain:
                self._plain[name] = load_model(GenerationRequest((), name))
            return self._plain[name]

    def check(self, name: str, subject: str = "") -> None:
        """Raise where a model may not be requested; `subject` begins the message."""
        if name not in self.names:
            raise Refused(f"{subject}unknown model {name[:60]!r}; known here: {', '.join(self.names)}")

    def of(self, request: GenerationRequest, loras: Loras) -> Components:
        """The model of a request with its LoRAs, which are among those of a visitor, `loras`."""
        self.check(request.model)
        added = loras.files_of(request)
        if not added:
            return self.load(request.model)
        with self._loading:
            if found := self._kept(request.model, added):
                return found
            # the one before goes first: there need not be memory for both
            self._with_loras.pop(request.model, None)
            model = load_model(GenerationRequest((), request.model, added))
            self._with_loras[request.model] = (added, model)
            return model

    def loaded(self, request: GenerationRequest, loras: Loras) -> Components | None:
        """The model of a request with its LoRAs if it is loaded; raises `Refused` where it may not be requested."""
        self.check(request.model)
        if request.embeddings:
            raise Refused(f"embedding {request.embeddings[0][0][:60]!r} cannot be requested; known here: none")
        added = loras.files_of(request)
        return self._kept(request.model, added) if added else self._plain.get(request.model)

    def usual(self, name: str) -> dict[str, Any]:
        """What a model does where nothing is requested: {"method", "story", "steps", "frames"}.

        Nothing is fetched for it: of a model on a hub, and of one that only loading can tell, steps and frames are None
        until it is loaded.
        """
        geometry, defaults = None, None
        preset = PRESETS.get(name)
        if preset and preset.source and name not in self._plain:
            geometry, defaults = preset.geometry, preset.defaults
        elif preset or name in self._plain or Path(name).is_dir():
            # a network of an installed package has no outline
            with suppress(AnimaticError):
                outline = self.outline(name)
                geometry, defaults = outline.geometry, outline.defaults
        method = (defaults or ModelDefaults()).method
        return {
            "method": method,
            "story": IN_WINDOWS[method],
            "steps": defaults and defaults.steps,
            "frames": geometry and geometry.frames,
        }

    def outline(self, name: str) -> Components:
        """A model by name for questions about its layers: as it is loaded, else without weights."""
        self.check(name)
        return self._plain.get(name) or skeleton(name).model

    def _kept(self, name: str, added: Added) -> Components | None:
        before, model = self._with_loras.get(name, ((), None))
        return model if before == added else None
