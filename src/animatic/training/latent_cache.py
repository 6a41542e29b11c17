"""A cache of latents on disk: each file is decoded, cut and encoded once (first window, centre crop)."""

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
    """Reads an item as latents `[frame, channel, height, width]`, and stores them in `folder` for the next time."""

    def __init__(self, folder: Path, model: Components) -> None:
        self.folder, self.model = folder, model
        self.codec_config = repr(sorted(model.vae.config.items()))

    def __call__(self, item: Item, cut: Cut, rng: random.Random) -> ReadItem:
        # The key has all that the latents depend on: the file, its version, the cut and the codec.
        key = f"{item.name}\n{item.version}\n{cut}\n{self.codec_config}"
        digest = hashlib.sha1(key.encode()).hexdigest()
        file = self.folder / f"{digest}.safetensors"
        try:
            return ReadItem(load_file(file)["x"])
        except (OSError, SafetensorError):  # not cached yet, or damaged
            read = read_pixels(item, cut, rng)
            latents = self.model.to_latents(read.frames[None])[0]
            x = latents.movedim(1, 0).cpu().contiguous()  # [frame, channel, height, width]
            write_atomically(file, save({"x": x}))
            return read._replace(frames=x)
