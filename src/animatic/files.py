"""Files read and written whole: what goes wrong is one line, and a file is written or left as it was."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from .errors import AnimaticError


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, UTF-8. Raises `AnimaticError` where it cannot be read."""
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise AnimaticError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise AnimaticError(f"{path}: cannot be read ({error})") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds. Raises `AnimaticError` where it cannot be read or is no JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise AnimaticError(f"{path}: not JSON ({error})") from None
    except RecursionError:
        raise AnimaticError(f"{path}: not JSON of ours (nested too deeply)") from None


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write all of `data` or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_writable(target: str | os.PathLike[str]) -> None:
    """Raise `AnimaticError` before the work where files called TARGET.* cannot be written after it."""
    target = Path(target)
    probe = target.with_name(f"{target.name}.{os.getpid()}.probe")
    write_atomically(probe, b"")
    probe.unlink()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file next to `path` to write to: it takes the place of `path` at the end, or is gone on an error."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        try:
            yield Path(name)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AnimaticError(f"{path}: cannot be written ({error.strerror})") from None


def fresh_path(
    path: str | os.PathLike[str],
    replaceable: Callable[[Path], bool] = lambda file: False,
    suffixes: Sequence[str] = (),
) -> Path:
    """Where a result can be written without losing another: `path`, or NAME-2, NAME-3, ... in its folder.

    A name is free where no file has it, or where `replaceable(file)` says that the file is the same result (same input,
    same settings). With `suffixes` (".mp4", ".gif") `path` has none itself, and is free where it is with all of them.
    """
    path = Path(path)
    if suffixes:
        stem = path.name
        endings = suffixes
    else:
        stem = path.stem
        endings = (path.suffix,)

    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        files = [path.with_name(name + ending) for ending in endings]
        if all(not os.path.exists(file) or replaceable(file) for file in files):  # a Path's raises on too long a name
            return path.with_name(name) if suffixes else files[0]
    raise AssertionError("unreachable: there is always a next number")
