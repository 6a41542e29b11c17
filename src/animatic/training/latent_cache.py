"""A cache of latents on disk: each content is decoded, cut and encoded once (first window, centre crop)."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..backbones.components import Components
from ..errors import warn
from ..files import write_atomically
from .clips import Cut, ReadItem, read_pixels
from .items import Item

DIGEST = "sha256"  # the key of the digest of the latents, in the file's own metadata


class LatentCache:
    """Reads an item as latents `[frame, channel, height, width]`, and stores them in `folder` for the next time.

    The key is all that the latents depend on: the content of the file, the cut, and the codec with its weights. A file
    that was moved or copied is not encoded again, and one that was replaced is.
    """

    def __init__(self, folder: Path, model: Components) -> None:
        self.folder, self.model = folder, model
        self.codec = _codec_digest(model)

    def __call__(self, item: Item, cut: Cut, rng: random.Random) -> ReadItem:
        key = hashlib.sha256(f"{item.content}\n{cut}\n{self.codec}".encode()).hexdigest()
        file = self.folder / f"{key}.safetensors"
        if item.content and (stored := _stored(file)) is not None:
            return ReadItem(stored)

        read = read_pixels(item, cut, rng)
        latents = self.model.to_latents(read.frames[None])[0]
        x = latents.movedim(1, 0).cpu().contiguous()  # [frame, channel, height, width]

        if _has_its_content(item):
            write_atomically(file, save({"x": x}, {DIGEST: _digest(x)}))
        return read._replace(frames=x)


def _stored(file: Path) -> Tensor | None:
    """The latents in a file of the cache; None where there is none, or, with a warning, one that is damaged."""
    try:
        with safe_open(file, "pt") as opened:
            x: Tensor = opened.get_tensor("x")
            wanted = (opened.metadata() or {}).get(DIGEST)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        warn(f"{file}: is damaged ({error}); its clip is encoded again")
        return None

    # the format itself notices no changed bit in a tensor
    if _digest(x) != wanted:
        warn(f"{file}: is damaged (its latents are not those that were written); its clip is encoded again")
        return None
    return x


def _has_its_content(item: Item) -> bool:
    """Whether the file still is what the item says: it may be written while the run goes on."""
    try:
        return bool(item.content) and item.digest() == item.content
    except OSError:
        return False


def _codec_digest(model: Components) -> str:
    """The SHA-256 of the codec's configuration and weights."""
    total = hashlib.sha256(repr(sorted(model.vae.config.items())).encode())
    for name, weight in sorted(model.vae.state_dict().items()):
        total.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        total.update(_bytes_of(weight))
    return total.hexdigest()


def _digest(x: Tensor) -> str:
    return hashlib.sha256(_bytes_of(x)).hexdigest()


def _bytes_of(x: Tensor) -> bytes:
    flat = x.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
