"""Latents kept on disk: every file is decoded, cut and encoded once (first window, middle crop)."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..scene import write_atomically
from .clips import Cut
from .learner import latents
from .sources import Item


class Kept:
    """Reads an item as latents `[frame, channel, h, w]`, from `folder` where they are there already."""

    def __init__(self, folder: Path, codec: Any) -> None:
        self.folder, self.codec = folder, codec
        self.codec_told = repr(sorted(codec.config.items()))

    def __call__(self, item: Item, cut: Cut, rng: random.Random) -> Tensor:
        name = hashlib.sha1(f"{item.name}\n{cut}\n{self.codec_told}".encode()).hexdigest()
        file = self.folder / f"{name}.safetensors"
        try:
            return load_file(file)["x"]
        except (OSError, SafetensorError):  # not there, or a machine died while it was written: made again
            frames = torch.from_numpy(cut(item.read(), rng, item.name))[None]
            device = next(self.codec.parameters()).device
            x = latents(self.codec, frames.to(device))[0].movedim(1, 0).cpu().contiguous()
            write_atomically(file, save({"x": x}))
            return x
