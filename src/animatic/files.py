"""Files read and written whole: what goes wrong is told in one line, and a file is written or left as it was."""

from __future__ import annotations

import json
import os
import tempfile
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


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write all of `data` or nothing: a temporary file beside `path`, then a rename."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AnimaticError(f"{path}: cannot be written ({error.strerror})") from None
