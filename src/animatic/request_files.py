"""Requests read from files: of any video or picture that animatic wrote, of a request, a scene or a story in JSON.

A file of somebody else is data. The folders that its request names are read only where they lie beside the file, in the
working directory, or where the user named them too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import AnimaticError
from .files import read_json
from .media.reading import probe
from .request import GenerationRequest
from .scene import parse_story


def read_request(path: str | os.PathLike[str], allowed: Iterable[str | os.PathLike[str]] = ()) -> GenerationRequest:
    """The request in a file. A scene or story alone is a request for it with every default.

    `allowed` are further files and folders that it may name as model or LoRA. Raises `AnimaticError` where the file
    carries no request, or one that cannot be used; see `GenerationRequest.of_dict`.
    """
    path = Path(path)
    request = request_in(path)
    if request is None:
        raise AnimaticError(f"{path}: carries no request; want a file that animatic wrote")
    check_paths(request, path, allowed)
    return request


def request_in(path: Path) -> GenerationRequest | None:
    """The request in a file, whatever it names; None where it was made by a version that wrote none."""
    if path.suffix == ".json":
        data = read_json(path)
        if isinstance(data, dict) and "story" in data:
            return GenerationRequest.of_dict(data, path)
        if isinstance(data, dict) and "request" in data:
            return GenerationRequest.of(data, path)
        return GenerationRequest(parse_story(data, str(path)))

    info = probe(path).info
    return GenerationRequest.of(info, path) if "request" in info else None


def check_paths(request: GenerationRequest, source: Path, allowed: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Raise `AnimaticError` where the request of the file `source` names one that is missing or may not be read."""
    roots = [Path.cwd(), source.absolute().parent, *map(Path, allowed)]
    for kind, name in _named_files(request):
        file = Path(name).absolute()
        if not any(_is_inside(file, root) for root in roots):
            raise AnimaticError(
                f"{source}: its request names the {kind} {name}, outside of its own and of the working folder; "
                f"to use it say --{kind} {name}"
            )
        if kind != "model" and not os.path.exists(name):
            missing = f"its request names the {kind} {name}, which is not there"
            raise AnimaticError(f"{source}: {missing}; want --{kind} FILE")


def _named_files(request: GenerationRequest) -> Iterator[tuple[str, str]]:
    """Everything that the request names by its path: (option, path)."""
    stage_models = re.findall(r"model=([^:,]+)", request.finishing.stages)
    models = (request.model, *stage_models)
    for model in (*models, *(part for name in models if "@" in name for part in name.split("@"))):
        # a name of a preset or a hub id ("owner/name") is no path
        is_path = os.path.isabs(model) or ".." in Path(model).parts or model.startswith(("~", "."))
        if is_path:
            yield "model", model
    for file, _, _ in request.loras:
        yield "lora", file
    for file, _ in request.embeddings:
        yield "embedding", file
    if request.image:
        yield "image", request.image


def _is_inside(file: Path, root: Path) -> bool:
    """Whether a path lies in a folder or is it, links followed."""
    try:
        return file.resolve().is_relative_to(root.resolve())
    except ValueError:  # half a character or a zero byte: no file can be called so
        return False
