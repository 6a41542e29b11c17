"""Latents kept on disk: every file is decoded, cut and encoded once (first window, middle crop)."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..backbones.base import Components
from ..files import write_atomically
from .clips import Cut
from .sources import Item


class Kept:
    """Reads an item as latents `[frame, channel, h, w]`, from `folder` where they are there already."""

    def __init__(self, folder: Path, model: Components) -> None:
        self.folder, self.model = folder, model
        self.codec_told = repr(sorted(model.vae.config.items()))

    def __call__(self, item: Item, cut: Cut, rng: random.Random) -> Tensor:
        name = hashlib.sha1(f"{item.name}\n{cut}\n{self.codec_told}".encode()).hexdigest()
        file = self.folder / f"{name}.safetensors"
        try:
            return load_file(file)["x"]
        except (OSError, SafetensorError):  # not there, or a machine died while it was written: made again
            frames = torch.from_numpy(cut(item.read(), rng, item.name))
            x = self.model.to_latents(frames[None])[0].movedim(1, 0).cpu().contiguous()
            write_atomically(file, save({"x": x}))
            return x
