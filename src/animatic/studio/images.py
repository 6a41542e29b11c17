"""Images that visitors send to begin a video with: each is kept once, as a PNG named by its digest."""

from __future__ import annotations

import base64
import binascii
import re
from io import BytesIO
from pathlib import Path

from PIL import Image

from ..files import write_atomically
from ..first_image import read_image
from ..request import GenerationRequest
from .log import Refused

FOLDER = "images"  # in the folder of the studio
DIGEST = re.compile(r"[0-9a-f]{16}")
FORMATS = ("PNG", "JPEG", "WEBP")


def keep(folder: Path, text: str, most: int) -> str:
    """Keep an image in base64, or a data URL of one, in the studio's folder; returns its digest.

    `text` may also be the digest of an image that was kept before.

    Raises `Refused` where it is none, or larger than `most` pixels a side, and `AnimaticError` where it has no pixels
    that can be shown.
    """
    if DIGEST.fullmatch(text):
        if not _path(folder, text).is_file():
            raise Refused(f"image {text} is not kept here; want the picture itself")
        return text
    _, _, encoded = text.rpartition(",")
    try:
        data = base64.b64decode(encoded, validate=True)
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            if max(picture.size) > most:
                raise Refused(f"image measures {picture.width}x{picture.height}; at most {most} a side here")
            image = read_image(picture)
    except (binascii.Error, OSError, SyntaxError, ValueError):
        raise Refused(f"image is no picture; want {', '.join(FORMATS)} in base64") from None

    stream = BytesIO()
    Image.fromarray(image.pixels).save(stream, "PNG")
    write_atomically(_path(folder, image.digest), stream.getvalue())
    return image.digest


def image_of(folder: Path, request: GenerationRequest) -> Path | None:
    """The file of the image that a job's request is of, which has its digest alone; None where it is of none."""
    return _path(folder, request.image_digest) if request.image_digest else None


def _path(folder: Path, digest: str) -> Path:
    return folder / FOLDER / f"{digest}.png"
