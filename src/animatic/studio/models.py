"""The models of the studio: which may be requested, and those that are loaded."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ..backbones.components import Components
from ..backbones.lora import LoraRequest
from ..binding import load_model
from ..request import GenerationRequest
from ..scene import Story
from .log import Refused


class Models:
    """Models by name, with LoRAs by name; `names` and `loras` are the only ones that can be requested."""

    def __init__(self, names: Sequence[str], loras: Sequence[str]) -> None:
        self.names = tuple(names)
        self.loras = tuple(loras)
        self._loaded: dict[tuple[str, ...], Components] = {}  # by the names of a model and its LoRAs
        self._loading = threading.Lock()

    def load(self, name: str, loras: Sequence[str] = ()) -> Components:
        """A model by name with LoRAs, loaded when it is first requested; it stays.

        Raises `Refused` where one of them may not be requested.
        """
        self.check(name)
        for lora in loras:
            self.check_lora(lora)
        key = (name, *loras)
        with self._loading:
            if key not in self._loaded:
                self._loaded[key] = load_model(with_names((), name, loras))
            return self._loaded[key]

    def check(self, name: str, subject: str = "") -> None:
        """Raise where a model may not be requested; `subject` begins the message."""
        if name not in self.names:
            raise Refused(f"{subject}unknown model {name[:60]!r}; known here: {', '.join(self.names)}")

    def check_lora(self, name: str) -> None:
        """Raise where a LoRA may not be requested."""
        if name not in self.loras:
            known = ", ".join(self.loras) or "none"
            raise Refused(f"unknown LoRA {name[:60]!r}; known here: {known}")

    def of(self, request: GenerationRequest) -> Components:
        """The model of a request with its LoRAs."""
        return self.load(request.model, [lora_text(lora) for lora in request.loras])

    def loaded(self, request: GenerationRequest) -> Components | None:
        """The model of a request with its LoRAs if it is loaded; raises `Refused` where it may not be requested."""
        self.check(request.model)
        if request.embeddings:
            raise Refused(f"embedding {request.embeddings[0][0][:60]!r} cannot be requested; known here: none")
        loras = [lora_text(lora) for lora in request.loras]
        for lora in loras:
            self.check_lora(lora)
        return self._loaded.get((request.model, *loras))


def with_names(story: Story, model: str, loras: Sequence[str]) -> GenerationRequest:
    """A request of a story on a model with LoRAs by name, FILE[:SCALE[:NETWORK]]."""
    added = [LoraRequest.of(text) for text in loras]
    records = tuple((str(lora.file), lora.scale, lora.network) for lora in added)
    return GenerationRequest(story, model, records)


def lora_text(lora: tuple[str, float, str]) -> str:
    """The name of a LoRA of a request, FILE[:SCALE[:NETWORK]]."""
    file, scale, network = lora
    text = file if scale == 1 and not network else f"{file}:{scale:g}"
    return f"{text}:{network}" if network else text
