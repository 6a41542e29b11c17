"""Latents kept on disk: every file is decoded, cut and encoded once (first window, middle crop)."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..backbones.components import Components
from ..files import write_atomically
from .clips import Cut, ReadItem, read_pixels
from .sources import Item


class LatentCache:
    """Reads an item as latents `[frame, channel, h, w]`, from `folder` where they are there already."""

    def __init__(self, folder: Path, model: Components) -> None:
        self.folder, self.model = folder, model
        self.codec_config = repr(sorted(model.vae.config.items()))

    def __call__(self, item: Item, cut: Cut, rng: random.Random) -> ReadItem:
        key = f"{item.name}\n{item.version}\n{cut}\n{self.codec_config}"
        file = self.folder / f"{hashlib.sha1(key.encode()).hexdigest()}.safetensors"
        try:
            return ReadItem(load_file(file)["x"])
        except (OSError, SafetensorError):  # not there, or a machine died while it was written: made again
            read = read_pixels(item, cut, rng)
            x = self.model.to_latents(read.frames[None])[0].movedim(1, 0).cpu().contiguous()
            write_atomically(file, save({"x": x}))
            return read._replace(frames=x)
