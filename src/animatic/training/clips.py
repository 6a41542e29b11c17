"""Clips to learn from, by position: an endless, shuffled row of windows of frames, pictures and captions beside them.

A run reads positions 0, 1, 2, ...: position p names an item (a new permutation every time round), a window, a crop, and
the seed of its noise. So a sample depends on the seed and its position alone, and resuming is counting.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..errors import AnimaticError, counted
from ..video import Video
from .matching import Note
from .sources import Item, ToyWorld

SHORT = ("loop", "hold", "bounce", "skip", "black")


@dataclass(frozen=True)
class Cut:
    """How a clip is cut out of a file: `frames` at `fps` (0: the file's own rate), resized and cropped to the size.

    A file that is too short is played round (`loop`), holds its last frame (`hold`), goes back and forth (`bounce`), is
    left out (`skip`), or ends in `black` frames, as video-diffusion-pytorch 0.7 has it.
    """

    frames: int = 16
    width: int = 64
    height: int = 64
    fps: float = 0.0
    short: str = "loop"
    flip: bool = False  # mirror half of them: not where captions say left or right
    crop: bool = False  # at the file's own scale, or more where it is too small; else resized until the size is covered
    steady: bool = False  # no chance: the first window, the middle crop (for latents that are kept)

    def __post_init__(self) -> None:
        if self.short not in SHORT:
            raise AnimaticError(f"short is {self.short!r}; want one of {', '.join(SHORT)}")

    def __call__(self, video: Video, rng: random.Random, name: str = "clip") -> np.ndarray:
        """uint8 `[frame, height, width, 3]`. Raises `AnimaticError` where the file is too short to be used."""
        count, stride, span = len(video), self._stride(video), self._span(video)
        if span > count and self.short == "skip":
            raise AnimaticError(f"{name}: {count} frames, {span} are needed; left out")
        first = 0 if self.steady else rng.randint(0, max(0, count - span))
        wanted = first + (np.arange(self.frames) * stride).astype(int)
        chosen = video.frames[self._indices(wanted, count)]
        if self.short == "black":
            chosen = chosen * (wanted < count)[:, None, None, None].astype(np.uint8)
        u, v = (0.5, 0.5) if self.steady else (rng.random(), rng.random())
        chosen = _fitted(chosen, self.width, self.height, u, v, float(self.crop))
        return chosen[:, :, ::-1].copy() if self.flip and rng.random() < 0.5 else chosen

    def repeats(self, video: Video, name: str) -> str:
        """Why frames of a video are shown more than once, or ""."""
        if self._span(video) > len(video):
            return f"{name}: {len(video)} frames of {self._span(video)}: short is {self.short!r}"
        if self.frames > 1 and self._stride(video) < 1:
            return f"{name}: {video.fps:g} frames a second: fps is {self.fps:g}"
        return ""

    def _stride(self, video: Video) -> float:
        """Frames of the file for one of the clip."""
        return video.fps / self.fps if self.fps else 1.0

    def _span(self, video: Video) -> int:
        """Frames of the file that a clip takes."""
        return int((self.frames - 1) * self._stride(video)) + 1

    def _indices(self, wanted: np.ndarray, count: int) -> np.ndarray:
        match self.short:
            case "hold" | "black":
                return wanted.clip(max=count - 1)
            case "bounce":
                period = max(1, 2 * count - 2)
                return np.minimum(wanted % period, period - wanted % period)
            case _:
                return wanted % count


def _fitted(frames: np.ndarray, width: int, height: int, u: float, v: float, least: float) -> np.ndarray:
    """Resized until the size is covered, to no less than `least`; then cropped at (u, v) of the room left."""
    if frames.shape[1:3] == (height, width):
        return frames
    scale = max(width / frames.shape[2], height / frames.shape[1], least)
    wide, high = max(width, round(frames.shape[2] * scale)), max(height, round(frames.shape[1] * scale))
    x, y = int(u * (wide - width) + 0.5), int(v * (high - height) + 0.5)
    resized = [Image.fromarray(f).resize((wide, high), Image.Resampling.LANCZOS) for f in frames]
    return np.stack([np.asarray(picture)[y : y + height, x : x + width] for picture in resized])


class ReadItem(NamedTuple):
    """An item, cut; what is wrong with its file although it can be read; which of its frames are shown more than once.

    "" where it is nothing, or nobody looked: what is kept on disk was said when it was made.
    """

    frames: Tensor
    damage: str = ""
    repeated: str = ""


Read = Callable[[Item, Cut, random.Random], ReadItem]


def read_pixels(item: Item, cut: Cut, rng: random.Random) -> ReadItem:
    """uint8 `[frame, height, width, 3]`."""
    video = item.read()
    frames = torch.from_numpy(cut(video, rng, item.name))
    return ReadItem(frames, str(video.info.get("damage", "")), cut.repeats(video, item.name))


@dataclass(frozen=True)
class Sample:
    """One row: `frames` uint8 `[video + pictures, height, width, 3]`, a caption for the clip and one for each picture.

    Where latents are kept, `frames` are those: float `[video + pictures, channel, h, w]`. `skipped` are the complaints
    about files that were passed over on the way here, `damaged` those about files that were read in part, `repeated`
    those about files too short or too slow.
    """

    frames: Tensor
    captions: tuple[str, ...]
    seed: int
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


def used_items(items: Sequence[Item], frames: int, images: int, note: Note) -> Sequence[Item]:
    """The items that a run reads: pictures only where it has a use for them. Raises where no clip is left."""
    if isinstance(items, ToyWorld) or frames == 1:
        return items
    clips = [item for item in items if not item.picture]
    if not clips:
        raise AnimaticError(f"{counted(len(items), 'picture')} and no clip; want clips, or frames = 1")
    if images or len(clips) == len(items):
        return items
    note(f"{counted(len(items) - len(clips), 'picture')} not used; --images COUNT puts them beside clips")
    return clips


class Clips(Dataset[Sample]):
    """Position -> sample; `images` pictures stand beside each clip (from the picture files, or single frames)."""

    def __init__(
        self, items: Sequence[Item], cut: Cut, images: int = 0, seed: int = 0, read: Read | None = None
    ) -> None:
        self.cut, self.images, self.seed, self.read = cut, images, seed, read or read_pixels
        if isinstance(items, ToyWorld):
            self.clips: Sequence[Item] = items
            self.stills: Sequence[Item] = items
        else:
            items = used_items(items, cut.frames, images, lambda line: None)
            self.clips = items if cut.frames == 1 else [i for i in items if not i.picture]
            self.stills = [i for i in items if i.picture] or self.clips

    def __getitem__(self, position: int) -> Sample:
        rng = random.Random(f"{self.seed}/{position}")
        seed = rng.getrandbits(63)
        skipped: list[str] = []
        still = replace(self.cut, frames=1)
        parts = [self._cut(self.clips, "clip", position, self.cut, rng, skipped)]
        for at in range(position * self.images, (position + 1) * self.images):
            parts.append(self._cut(self.stills, "still", at, still, rng, skipped))

        read, items = zip(*parts, strict=True)
        captions, names = tuple(item.caption or "" for item in items), tuple(item.name for item in items)
        damaged = tuple(item.damage for item in read if item.damage)
        repeated = tuple(item.repeated for item in read if item.repeated)
        frames = torch.cat([r.frames for r in read])
        return Sample(frames, captions, seed, names, tuple(skipped), damaged, repeated)

    def caption(self, position: int) -> str:
        """That of the clip at `position`, its file not looked at."""
        return self.clips[self._turn("clip", position, len(self.clips), 0)].caption or ""

    def _cut(
        self, items: Sequence[Item], kind: str, position: int, cut: Cut, rng: random.Random, skipped: list[str]
    ) -> tuple[ReadItem, Item]:
        count = len(items)
        for tries in range(count):
            item = items[self._turn(kind, position, count, tries)]
            try:
                return self.read(item, cut, rng), item
            except AnimaticError as error:
                skipped.append(str(error))
        raise AnimaticError(f"none of {counted(count, 'file')} can be used; the first: {skipped[0]}")

    def _turn(self, kind: str, position: int, count: int, tries: int) -> int:
        """A new permutation every round (an affine one, which needs no memory); bad files pass on to the next."""
        rng = random.Random(f"{self.seed}/{kind}/{position // count}")
        start, stride = rng.randrange(count), rng.randrange(1, count + 1)
        while np.gcd(stride, count) != 1:
            stride = stride % count + 1
        return (start + stride * (position % count) + tries) % count


class Positions(Sampler[int]):
    """The positions of one process, from `first` on: micro-batches of `batch` rows are dealt out to `world` in turn."""

    def __init__(self, first: int, batch: int, rank: int = 0, world: int = 1) -> None:
        self.first, self.batch, self.rank, self.world = first, batch, rank, world

    def __iter__(self) -> Iterator[int]:
        at = self.first
        while True:
            yield from range(at + self.rank * self.batch, at + (self.rank + 1) * self.batch)
            at += self.world * self.batch
