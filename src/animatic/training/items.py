"""One training file, wherever it lies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import AnimaticError
from ..video import Video


@dataclass(frozen=True)
class Item:
    """A training file; `read` decodes all of it.

    `caption` is None where there is none; `label` is the name of its folder, "" at the top. `digest` reads the file for
    the SHA-256 of its content and raises `OSError` where it cannot; `version` is what shows without reading that the
    file was written anew. `content` is its digest where it was asked for, see `data_contents`.
    """

    name: str
    caption: str | None
    read: Callable[[], Video]
    digest: Callable[[], str]
    picture: bool = False
    label: str = ""
    version: str = ""
    content: str = ""


def decoded(data: bytes, suffix: str, name: str) -> Video:
    """The video in the bytes of a file whose name ends in `suffix`; errors say `name`."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        try:
            return Video.load(file.name)
        except AnimaticError as error:
            raise AnimaticError(str(error).replace(file.name, name)) from None
