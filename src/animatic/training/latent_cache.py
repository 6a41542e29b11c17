"""A cache of latents on disk: each content is decoded, cut and encoded once (first window, centre crop)."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..backbones.components import Components
from ..files import write_atomically
from .clips import Cut, ReadItem, read_pixels
from .items import Item


class LatentCache:
    """Reads an item as latents `[frame, channel, height, width]`, and stores them in `folder` for the next time.

    The key is all that the latents depend on: the content of the file, the cut, and the codec with its weights. A file
    that was moved or copied is not encoded again, and one that was replaced is.
    """

    def __init__(self, folder: Path, model: Components) -> None:
        self.folder, self.model = folder, model
        self.codec = _codec_digest(model)

    def __call__(self, item: Item, cut: Cut, rng: random.Random) -> ReadItem:
        digest = hashlib.sha256(f"{item.content}\n{cut}\n{self.codec}".encode()).hexdigest()
        file = self.folder / f"{digest}.safetensors"
        if item.content:
            try:
                return ReadItem(load_file(file)["x"])
            except (OSError, SafetensorError):  # not cached yet, or damaged
                pass

        read = read_pixels(item, cut, rng)
        latents = self.model.to_latents(read.frames[None])[0]
        x = latents.movedim(1, 0).cpu().contiguous()  # [frame, channel, height, width]

        if _has_its_content(item):
            write_atomically(file, save({"x": x}))
        return read._replace(frames=x)


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
        content = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        total.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        total.update(content.numpy())
    return total.hexdigest()
