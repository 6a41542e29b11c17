"""LoRAs that may be requested: those that the studio was started with, and those that a visitor has sent.

A visitor's are kept in the folder of their jobs, loras/<digest>.safetensors, each beside a JSON file with the name that
it came with and the models it fits. Requests name one by its digest, never by a path.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from ..backbones.components import Components
from ..backbones.lora import NETWORKS, LoraRequest, changes_of
from ..errors import AnimaticError, warn
from ..files import read_json, replacing, write_atomically
from ..request import GenerationRequest
from .limits import Limits
from .log import Refused

FOLDER = "loras"  # in the folder of a visitor's jobs
SUFFIX = ".safetensors"
DIGEST = re.compile(r"[0-9a-f]{16}")
LETTERS = 80  # of a name that is shown
STRENGTH = re.compile(rf"(?::(?P<scale>[^:]+?))??(?::(?P<network>{'|'.join(NETWORKS)}))?")

Added = tuple[tuple[str, float, str], ...]
"""(file or name, scale, network) of each LoRA, as in `GenerationRequest.loras`."""


@dataclass(frozen=True)
class KnownLora:
    """A LoRA that may be requested by `name`; `label` is shown. `models`: those that one's own fits."""

    name: str
    label: str
    file: Path
    scale: float = 1.0
    network: str = ""
    own: bool = False
    models: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "label": self.label, "scale": self.scale, "network": self.network, "own": self.own,
        }  # fmt: skip


class Loras:
    """The LoRAs of one visitor: those of the start, and what is in the folder of their jobs."""

    def __init__(self, folder: Path, started: Sequence[str], limits: Limits) -> None:
        """`started`: FILE[:SCALE[:NETWORK]] of each that everybody may request."""
        self.folder = folder / FOLDER
        self.limits = limits
        self._lock = threading.Lock()  # held while one is taken in: their number and bytes are limited
        self._started = []
        for text in started:
            lora = LoraRequest.of(text)
            self._started.append(KnownLora(str(lora.file), str(lora.file), lora.file, lora.scale, lora.network))

    def all(self) -> list[KnownLora]:
        """Those of the start, then the visitor's own by their names."""
        return [*self._started, *sorted(self._own(), key=lambda lora: (lora.label, lora.name))]

    def _own(self) -> list[KnownLora]:
        found = []
        for file in sorted(self.folder.glob(f"*{SUFFIX}")):
            record = file.with_suffix(".json")
            if not DIGEST.fullmatch(file.stem) or not record.is_file():
                continue
            try:
                data = read_json(record)
                found.append(
                    KnownLora(file.stem, str(data["name"]), file.absolute(), own=True, models=tuple(data["models"]))
                )
            except (AnimaticError, KeyError, TypeError) as error:
                warn(f"{record}: is damaged, and its LoRA was left out ({error})")
        return found

    # ---- what a request names

    def requested(self, texts: Sequence[str]) -> Added:
        """NAME[:SCALE[:NETWORK]] of each as a request has them. Raises `Refused` where one may not be requested.

        Without SCALE and NETWORK they are those of the start.
        """
        known = self.all()
        return tuple(self._requested(text, known) for text in texts)

    def _requested(self, text: str, known: Sequence[KnownLora]) -> tuple[str, float, str]:
        # by the names alone: nothing of the disk is looked at, and so nothing of it is told
        for lora in known:
            form = STRENGTH.fullmatch(text.removeprefix(lora.name)) if text.startswith(lora.name) else None
            if form is None or (form["network"] and lora.network and form["network"] != lora.network):
                continue
            try:
                scale = float(form["scale"]) if form["scale"] else lora.scale
            except ValueError:
                given = form["scale"][:40]
                raise Refused(f"LoRA {lora.label}: scale is {given!r}; want a number such as 0.8") from None
            return lora.name, self._within(lora, scale), form["network"] or lora.network
        raise _unknown(text, known)

    def _within(self, lora: KnownLora, scale: float) -> float:
        most = max(self.limits.lora_scale, abs(lora.scale))
        if not math.isfinite(scale) or abs(scale) > most:
            raise Refused(f"LoRA {lora.label}: scale is {scale:g}; want {-most:g} to {most:g} here")
        return scale

    def files_of(self, request: GenerationRequest) -> Added:
        """The LoRAs of a request with their files in place of names. Raises `Refused` where one is not known here.

        A video that was made has the file, not the name: that is known by its digest, or as the start's own.
        """
        known = self.all()
        added = []
        for name, scale, network in request.loras:
            found = [lora for lora in known if name in (lora.name, str(lora.file.resolve()))]
            found += [lora for lora in known if lora.own and lora.name == PureWindowsPath(name).stem]
            if not found:
                raise _unknown(name, known)
            lora = found[0]
            if lora.own and request.model not in lora.models:
                raise Refused(f"LoRA {lora.label} does not fit {request.model}; it fits {', '.join(lora.models)}")
            added.append((str(lora.file), self._within(lora, scale), network))
        return tuple(added)

    # ---- a visitor's own

    def keep(self, stream: IO[bytes], name: str, models: Sequence[str], outline: Callable[[str], Components]) -> None:
        """Take in a file that came under a name; `outline(model)` has the layers that it must fit, of one at least.

        Raises `Refused` where it is no LoRA of any of the models, or there are too many.
        """
        label = shown_name(name)
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]  # type: ignore[arg-type]
        size = stream.tell()
        with self._lock:
            others = [lora for lora in self._own() if lora.name != digest]
            if len(others) >= self.limits.loras:
                raise Refused(f"{len(others)} LoRAs of yours are kept already, the most; want one deleted", 413)
            total = size + sum(lora.file.stat().st_size for lora in others)
            if total > self.limits.lora_bytes:
                raise Refused(f"your LoRAs would be {total} bytes; at most {self.limits.lora_bytes} here", 413)

            file = self.folder / f"{digest}{SUFFIX}"
            with replacing(file) as temporary:
                stream.seek(0)
                with temporary.open("wb") as copy:
                    shutil.copyfileobj(stream, copy)
                fitting = _fitting(temporary, label, models, outline)
                # before the file has its name: without this it is none
                text = json.dumps({"name": label, "models": fitting}, ensure_ascii=False)
                write_atomically(file.with_suffix(".json"), text.encode())

    def delete(self, name: str) -> None:
        """Remove one of the visitor's own for good."""
        with self._lock:
            own = {lora.name: lora for lora in self._own()}
            if name not in own:
                raise Refused(f"no LoRA of yours is called {name[:60]!r}", 404)
            try:
                own[name].file.unlink()
                own[name].file.with_suffix(".json").unlink()
            except OSError as error:
                raise AnimaticError(f"LoRA {own[name].label}: cannot be removed ({error.strerror})") from None


def shown_name(name: str) -> str:
    """A file's name from outside as it is shown: without folders, control characters and more letters than fit.

    Raises `Refused` where it does not end as safetensors do.
    """
    last = PureWindowsPath(name).name  # of both kinds of slashes
    shown = "".join(letter for letter in last if letter.isprintable())
    if not shown.lower().endswith(SUFFIX) or len(shown) == len(SUFFIX):
        raise Refused(f"the file is called {shown[:60]!r}; want a LoRA in {SUFFIX}")
    return shown[: -len(SUFFIX)][:LETTERS]


def _fitting(file: Path, label: str, models: Sequence[str], outline: Callable[[str], Components]) -> list[str]:
    """Those of `models` whose layers a LoRA changes. Raises `Refused` where there are none."""
    fitting, reasons = [], []
    for model in models:
        try:
            changes_of(outline(model), file)
            fitting.append(model)
        except AnimaticError as error:
            reasons.append(str(error).replace(str(file), label))
    if not fitting:
        raise Refused("; ".join(dict.fromkeys(reasons)))
    return fitting


def _unknown(name: str, known: Sequence[KnownLora]) -> Refused:
    names = ", ".join(lora.name for lora in known) or "none"
    return Refused(f"unknown LoRA {name[:60]!r}; known here: {names}")
