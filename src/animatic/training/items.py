"""One training file, wherever it lies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import AnimaticError
from ..video import Video

if TYPE_CHECKING:
    from ..media.frame_stream import FrameSource


@dataclass(frozen=True)
class Item:
    """A training file; `read` opens it: a long one is decoded as far as its frames are taken.

    `caption` is None where there is none; `label` is the name of its folder, "" at the top. `digest` reads the file for
    the SHA-256 of its content and raises `OSError` where it cannot; `version` is what shows without reading that the
    file was written anew. `content` is its digest where it was asked for, see `data_contents`.
    """

    name: str
    caption: str | None
    read: Callable[[], FrameSource]
    digest: Callable[[], str]
    picture: bool = False
    label: str = ""
    version: str = ""
    content: str = ""


def decoded(data: bytes, suffix: str, name: str) -> FrameSource:
    """The video in the bytes of a file whose name ends in `suffix`; errors say `name`."""
    file = tempfile.NamedTemporaryFile(suffix=suffix)  # noqa: SIM115 - gone with the last that reads it
    file.write(data)
    file.flush()
    try:
        return Video.source(file.name, held=file)
    except AnimaticError as error:
        raise AnimaticError(str(error).replace(file.name, name)) from None
