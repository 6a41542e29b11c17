"""A cache of latents on disk: each file is decoded, cut and encoded once (first window, centre crop)."""

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
from .sources import Item

DIGEST = "sha256"  # the key of the digest of the latents, in the file's own metadata


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
        if (stored := _stored(file)) is not None:
            return ReadItem(stored)

        read = read_pixels(item, cut, rng)
        latents = self.model.to_latents(read.frames[None])[0]
        x = latents.movedim(1, 0).cpu().contiguous()  # [frame, channel, height, width]
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
    if wanted is None:
        return None  # version 0.1 wrote no digests: what it kept is encoded again

    # the format itself notices no changed bit in a tensor
    if _digest(x) != wanted:
        warn(f"{file}: is damaged (its latents are not those that were written); its clip is encoded again")
        return None
    return x


def _digest(x: Tensor) -> str:
    return hashlib.sha256(x.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
