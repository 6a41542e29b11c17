"""Digests of the files that decide what a run makes besides its settings, so that a run is of one model alone."""

from __future__ import annotations

import hashlib
import os
from importlib.resources import files
from pathlib import Path

from ..files import digest_of
from .jobs import RunSettings

LARGE = 2**28  # bytes from which a file is sampled, not read whole
SAMPLES, SAMPLE = 64, 2**20  # parts of a large file, and the bytes of each


def contents(settings: RunSettings) -> dict[str, str]:
    """The digests by name: of the model's folder or file, LoRAs, embeddings, first image, and a benchmark's own file.

    Models of the hub have none: their files are kept there under a commit, and do not change.
    """
    from ..backbones.presets import PRESETS
    from ..backbones.single_file import single_file

    found = {}
    model = settings.model
    if os.path.isdir(model):
        found["weights"] = digest_of_folder(Path(model))
    elif one_file := single_file(model):
        file, configurations = one_file
        found["weights"] = _shortened(_digest_of_parts(file))
        if os.path.isdir(configurations):
            found["configurations"] = digest_of_folder(Path(configurations))
    elif model in PRESETS and not PRESETS[model].source:  # bundled
        found["weights"] = digest_of_folder(Path(str(files("animatic") / "weights" / model)))
    for number, (file, _, _) in enumerate(settings.request.loras, 1):
        found[f"lora {number}"] = _shortened(digest_of(Path(file)))
    for number, (file, _) in enumerate(settings.request.embeddings, 1):
        found[f"embedding {number}"] = _shortened(digest_of(Path(file)))
    if settings.request.image:
        found["image"] = _shortened(digest_of(Path(settings.request.image)))
    if file := file_of(settings.benchmark):
        found["benchmark file"] = _shortened(digest_of(Path(file)))
    return found


def file_of(benchmark: str) -> str:
    """The Python file in a benchmark's name, FILE.py or FILE.py:TASK; "" where it is none."""
    whole, colon, _ = benchmark.rpartition(":")
    for name in (benchmark, whole if colon else ""):
        if name.endswith(".py"):
            return name
    return ""


def digest_of_folder(folder: Path) -> str:
    """A digest of the names and contents of a folder's files, hidden ones apart; large files are sampled evenly."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            total.update(f"{name.as_posix()}\n{path.stat().st_size}\n{_digest_of_parts(path)}\n".encode())
    return _shortened(total.hexdigest())


def _digest_of_parts(path: Path) -> str:
    size = path.stat().st_size
    if size < LARGE:
        return digest_of(path)

    # training changes every number of a tensor, so that a part of each is enough
    parts = hashlib.sha256()
    with path.open("rb") as file:
        for i in range(SAMPLES):
            file.seek((size - SAMPLE) * i // (SAMPLES - 1))
            parts.update(file.read(SAMPLE))
    return parts.hexdigest()


def _shortened(digest: str) -> str:
    return digest[:16]
