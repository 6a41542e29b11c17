"""The image that a video begins with: read from a file or taken from memory, and cut to the shape of the video."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .core.backbone import Backbone, no_image
from .errors import AnimaticError
from .media.pictures import eight_bits
from .media.reading import probe, read
from .request import GenerationRequest

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"
MOST_LOSS = 0.02  # of a picture, cut away without a note


@dataclass(frozen=True)
class FirstImage:
    """An image as it was given: uint8 `[height, width, 3]`. `name`: its file, "" of one in memory."""

    pixels: np.ndarray
    name: str = ""

    @property
    def digest(self) -> str:
        """Of its size and its pixels, by which a request knows it again."""
        height, width = self.pixels.shape[:2]
        total = hashlib.sha256(f"{width}x{height}".encode())
        total.update(self.pixels.tobytes())
        return total.hexdigest()[:16]

    def fitted(self, width: int, height: int) -> Tensor:
        """Scaled and cut around its middle to fill a video of this size: uint8 `[1, 1, height, width, 3]`.

        Where nothing is to be cut it is what diffusers' pipelines make of it: scaled by Lanczos.
        """
        picture = Image.fromarray(self.pixels)
        fitted = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(fitted))[None, None]

    def note(self, width: int, height: int, multiple: int) -> str:
        """One line where a video of this size shows less than the whole image; "" where it shows nearly all of it.

        `multiple`: sides of a video are multiples of it.
        """
        own_height, own_width = self.pixels.shape[:2]
        ratio = own_width * height / (own_height * width)
        lost = 1 - min(ratio, 1 / ratio)
        if lost <= MOST_LOSS:
            return ""

        # a video of the shape of the image, with about as many pixels
        area = width * height
        wide = max(1, round(math.sqrt(area * own_width / own_height) / multiple)) * multiple
        high = max(1, round(math.sqrt(area * own_height / own_width) / multiple)) * multiple
        what = self.name or "the image"
        shape = f"{what} measures {own_width}x{own_height}, and {lost:.0%} of it is cut away in {width}x{height}"
        is_other = (wide, high) != (width, height)
        return f"{shape}; --size {wide}x{high} is nearer to its shape" if is_other else shape


def first_image_of(request: GenerationRequest, given: ImageLike | None = None) -> FirstImage | None:
    """The image of a request, or the one given for it; None where its video begins with none.

    Raises `AnimaticError` where there are two, where it cannot be read, or is not the one that the request is of.
    """
    if given is not None and request.image:
        raise AnimaticError(f"the request has the image {request.image}, and another is given; want one of them")
    source = request.image if given is None else given
    if given is None and not request.image:
        if request.image_digest:
            raise AnimaticError(
                f"the request is of a given image ({request.image_digest}); want generate(..., image=...)"
            )
        return None

    image = read_image(source)
    if request.image_digest and image.digest != request.image_digest:
        what = image.name or "the image"
        raise AnimaticError(f"{what} has the digest {image.digest}; the request is of {request.image_digest}")
    return image


def read_image(source: ImageLike) -> FirstImage:
    """An image from a file, or in memory: of Pillow, or a uint8 array `[height, width, 3]`.

    Transparency is put on white. Raises `AnimaticError` where it is none, or a video.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        count = probe(path).frames
        if count > 1:
            raise AnimaticError(f"{path}: has {count} frames; want a picture")
        return FirstImage(np.ascontiguousarray(read(path).frames[0]), str(path))

    if isinstance(source, Image.Image):
        upright = ImageOps.exif_transpose(source)
        return FirstImage(np.ascontiguousarray(eight_bits(upright, Path("the image"))))
    if isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.ndim == 3 and source.shape[2] == 3:
        return FirstImage(np.ascontiguousarray(source))
    what = f"an array of {source.dtype} {list(source.shape)}" if isinstance(source, np.ndarray) else repr(source)[:60]
    raise AnimaticError(f"image is {what}; want a file, a Pillow image, or uint8 [height, width, 3]")


def check_image(image: FirstImage | None, backbone: Backbone, request: GenerationRequest, windowed: bool) -> None:
    """Raise `AnimaticError` where the model needs an image and has none, or does not take this one."""
    use = backbone.image_input
    if image is None:
        if use == "required":
            raise AnimaticError(f"{backbone.name} animates an image, and has none; want image=FILE (--image FILE)")
        return
    if not use:
        raise no_image(backbone.name)
    if request.inverted:
        raise AnimaticError("the frames of a video are edited, and an image is given; want one of them")

    # Windows after the first begin elsewhere than at the image.
    if windowed and use == "required":
        hint = "want one scene that is no longer than its clip, or frames"
        raise AnimaticError(f"{backbone.name} begins every clip with the image, and this is made in windows; {hint}")
