"""Training samples by position: an endless, shuffled sequence of windows of frames, with pictures and captions.

A run reads positions 0, 1, 2, ... A position determines an item (by a new permutation in every epoch), a window, a crop
and the seed of the noise. A sample depends on the seed and its position alone, so that a run resumes by counting.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..errors import AnimaticError, counted
from .items import Item
from .matching import Note
from .sources import ToyWorld

if TYPE_CHECKING:
    from ..media.frame_stream import FrameSource

SHORT = ("loop", "hold", "bounce", "skip", "black")


@dataclass(frozen=True)
class Cut:
    """How a clip is cut out of a file: `frames` at `fps` (0: the rate of the file), resized and cropped to the size.

    A file that is too short is repeated (`loop`), holds its last frame (`hold`), runs forwards and backwards
    (`bounce`), is left out (`skip`), or is padded with `black` frames, as in video-diffusion-pytorch 0.7.
    """

    frames: int = 16
    width: int = 64
    height: int = 64
    fps: float = 0.0
    short: str = "loop"
    flip: bool = False  # mirror half of the clips: not for captions with left or right
    crop: bool = False  # crop at the scale of the file, enlarged where it is too small; else resize to cover the size
    steady: bool = False  # not random: the first window and the centre crop (for cached latents)

    def __post_init__(self) -> None:
        if self.short not in SHORT:
            raise AnimaticError(f"short is {self.short!r}; want one of {', '.join(SHORT)}")

    def __call__(self, video: FrameSource, rng: random.Random, name: str = "clip") -> np.ndarray:
        """uint8 `[frame, height, width, 3]`. Raises `AnimaticError` where the file is too short to be used."""
        count = len(video)
        span = self._span(video)
        if span > count and self.short == "skip":
            raise AnimaticError(f"{name}: {count} frames, {span} are needed; left out")

        # The window; indices beyond the end are mapped to frames of the file.
        latest = max(0, count - span)
        first = 0 if self.steady else rng.randint(0, latest)
        offsets = np.arange(self.frames) * self._frame_step(video)
        requested = first + offsets.astype(int)
        chosen = video.take(self._indices(requested, count))
        if self.short == "black":
            chosen[requested >= count] = 0

        # Resize, crop and mirror.
        u, v = (0.5, 0.5) if self.steady else (rng.random(), rng.random())
        chosen = _fitted(chosen, self.width, self.height, u, v, float(self.crop))
        if self.flip and rng.random() < 0.5:
            return chosen[:, :, ::-1].copy()
        return chosen

    def repeats(self, video: FrameSource, name: str) -> str:
        """Why frames of a video are shown more than once, or ""."""
        # A file that is too short, or shot at a lower rate.
        span = self._span(video)
        if span > len(video):
            return f"{name}: {len(video)} frames of {span}: short is {self.short!r}"
        if self.frames > 1 and self._frame_step(video) < 1:
            return f"{name}: {video.fps:g} frames a second: fps is {self.fps:g}"
        return ""

    def _frame_step(self, video: FrameSource) -> float:
        """Frames of the file for one of the clip."""
        return video.fps / self.fps if self.fps else 1.0

    def _span(self, video: FrameSource) -> int:
        """Frames of the file that a clip takes."""
        return int((self.frames - 1) * self._frame_step(video)) + 1

    def _indices(self, requested: np.ndarray, count: int) -> np.ndarray:
        match self.short:
            case "hold" | "black":
                return requested.clip(max=count - 1)
            case "bounce":
                # The first and the last frame are not repeated at the turn.
                period = max(1, 2 * count - 2)
                return np.minimum(requested % period, period - requested % period)
            case _:
                return requested % count


def _fitted(frames: np.ndarray, width: int, height: int, u: float, v: float, least: float) -> np.ndarray:
    """Resized until the size is covered, to no less than `least`; then cropped at (u, v) of the room left."""
    old_height, old_width = frames.shape[1:3]
    if (old_height, old_width) == (height, width):
        return frames

    # The clip is covered, so that no border is left; then a window of it is cut out.
    scale = max(width / old_width, height / old_height, least)
    new_width = max(width, round(old_width * scale))
    new_height = max(height, round(old_height * scale))
    left = int(u * (new_width - width) + 0.5)
    top = int(v * (new_height - height) + 0.5)

    cropped = []
    for frame in frames:
        picture = Image.fromarray(frame).resize((new_width, new_height), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture)
        window = pixels[top : top + height, left : left + width]
        cropped.append(window)
    return np.stack(cropped)


class ReadItem(NamedTuple):
    """An item after cutting, what is damaged in its file, and which of its frames are repeated.

    The messages are "" where there is nothing to report, and for cached latents, whose content was reported before.
    """

    frames: Tensor
    damage: str = ""
    repeated: str = ""


Read = Callable[[Item, Cut, random.Random], ReadItem]


def read_pixels(item: Item, cut: Cut, rng: random.Random) -> ReadItem:
    """uint8 `[frame, height, width, 3]`."""
    video = item.read()
    frames = torch.from_numpy(cut(video, rng, item.name))
    damage = str(video.info.get("damage", ""))
    return ReadItem(frames, damage, cut.repeats(video, item.name))


@dataclass(frozen=True)
class Sample:
    """One sample: `frames` uint8 `[video + pictures, height, width, 3]`, with captions of the clip and of each picture.

    Where latents are cached, `frames` are latents: float `[video + pictures, channel, height, width]`. Messages are
    about files that were `skipped`, that are `damaged` and were read in part, or whose frames are `repeated`.
    """

    frames: Tensor
    captions: tuple[str, ...]
    seed: int
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


def used_items(items: Sequence[Item], frames: int, images: int, note: Note) -> Sequence[Item]:
    """The items that a run uses: pictures only where it trains on them. Raises `AnimaticError` where none is left."""
    if isinstance(items, ToyWorld) or frames == 1:
        return items
    clips = [item for item in items if not item.picture]
    if not clips:
        raise AnimaticError(f"{counted(len(items), 'picture')} and no clip; want clips, or frames = 1")
    if images or len(clips) == len(items):
        return items

    # Pictures train nothing about motion: they are used where they are asked for.
    pictures = len(items) - len(clips)
    note(f"{counted(pictures, 'picture')} not used; --images COUNT trains on them jointly")
    return clips


class Clips(Dataset[Sample]):
    """The data set position -> sample; each clip comes with `images` pictures (picture files, or single frames)."""

    def __init__(
        self, items: Sequence[Item], cut: Cut, images: int = 0, seed: int = 0, read: Read | None = None
    ) -> None:
        self.cut = cut
        self.images = images
        self.seed = seed
        self.read = read or read_pixels
        if isinstance(items, ToyWorld):
            self.clips: Sequence[Item] = items
            self.stills: Sequence[Item] = items
        else:
            # Without picture files single frames of clips take their place.
            items = used_items(items, cut.frames, images, lambda line: None)
            self.clips = items if cut.frames == 1 else [i for i in items if not i.picture]
            self.stills = [i for i in items if i.picture] or self.clips

    def __getitem__(self, position: int) -> Sample:
        # Everything random about a sample follows from its position.
        rng = random.Random(f"{self.seed}/{position}")
        seed = rng.getrandbits(63)
        skipped: list[str] = []

        # A clip, and the pictures that are trained with it.
        parts = [self._cut(self.clips, "clip", position, self.cut, rng, skipped)]
        still = replace(self.cut, frames=1)
        first = position * self.images
        for at in range(first, first + self.images):
            parts.append(self._cut(self.stills, "still", at, still, rng, skipped))

        # One sample of all parts, along time.
        read, items = zip(*parts, strict=True)
        frames = torch.cat([part.frames for part in read])
        captions = tuple(item.caption or "" for item in items)
        names = tuple(item.name for item in items)
        damaged = tuple(part.damage for part in read if part.damage)
        repeated = tuple(part.repeated for part in read if part.repeated)
        return Sample(frames, captions, seed, names, tuple(skipped), damaged, repeated)

    def caption(self, position: int) -> str:
        """The caption of the clip at `position`; its file is not read."""
        clip = self._turn("clip", position, len(self.clips), 0)
        return self.clips[clip].caption or ""

    def _cut(
        self, items: Sequence[Item], kind: str, position: int, cut: Cut, rng: random.Random, skipped: list[str]
    ) -> tuple[ReadItem, Item]:
        count = len(items)

        # The next item stands in for one that cannot be read.
        for tries in range(count):
            item = items[self._turn(kind, position, count, tries)]
            try:
                return self.read(item, cut, rng), item
            except AnimaticError as error:
                skipped.append(str(error))
        raise AnimaticError(f"none of {counted(count, 'file')} can be used; the first: {skipped[0]}")

    def _turn(self, kind: str, position: int, count: int, tries: int) -> int:
        """The index of the item at `position`, by a new permutation in every epoch.

        It is an affine permutation, which needs no memory. After `tries` unreadable files it is the next item.
        """
        # position -> start + multiplier * place: a permutation where the multiplier has no common factor with the
        # count.
        epoch, place = divmod(position, count)
        rng = random.Random(f"{self.seed}/{kind}/{epoch}")
        start = rng.randrange(count)
        multiplier = rng.randrange(1, count + 1)
        while np.gcd(multiplier, count) != 1:
            multiplier = multiplier % count + 1
        return (start + multiplier * place + tries) % count


class Positions(Sampler[int]):
    """The positions of process `rank` of `world`, from `first` on: in turns of `batch` samples."""

    def __init__(self, first: int, batch: int, rank: int = 0, world: int = 1) -> None:
        self.first = first
        self.batch = batch
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[int]:
        turn = self.first
        while True:
            own = turn + self.rank * self.batch
            yield from range(own, own + self.batch)
            turn += self.world * self.batch
