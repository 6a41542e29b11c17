"""What to learn from: a folder with captions, tar shards, a Hugging Face data set, or the endless toy world.

A run reads positions 0, 1, 2, ...: position p names an item (a new permutation every time round), a window, a crop, and
the seed of its noise. So a sample depends on the seed and its position alone, and resuming is counting.
"""

from __future__ import annotations

import csv
import json
import random
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..errors import AnimaticError
from ..scene import Scene
from ..video import Video
from . import toyworld
from .captions import invent

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
MOVING = (".gif", ".mp4", ".webm", ".webp", ".mov", ".mkv", ".avi")
KEYS = 8  # key frames of a film of the toy world in which things glide
SHORT = ("loop", "hold", "bounce", "skip")
CAPTION_COLUMNS = ("text", "caption", "prompt")
FILE_COLUMNS = ("file_name", "file", "path")


@dataclass(frozen=True)
class Item:
    """A file to learn from; `read` decodes all of it. `caption` is None where nobody wrote one."""

    name: str
    caption: str | None
    read: Callable[[], Video]
    picture: bool = False


def items_of(source: str, frames: int = 16, seed: int = 0) -> Sequence[Item]:
    """The items of "toy", "hf:NAME", a `.tar` file, a folder of them, or a folder of clips and pictures.

    "toy:128:4" is the toy world at 128 pixels, in films of 8 key frames with 3 more between each two.
    """
    if source.partition(":")[0] == "toy":
        return ToyWorld.named(source, frames, seed)
    if source.startswith("hf:"):
        return _hub(source.removeprefix("hf:"))
    path = Path(source)
    shards = sorted(path.glob("*.tar")) if path.is_dir() else [path] * (path.suffix == ".tar" and path.is_file())
    items = [item for shard in shards for item in _shard(shard)] if shards else list(_folder(path))
    if not items:
        kinds = ", ".join((*MOVING, *PICTURES))
        raise AnimaticError(f"{source}: no clips or pictures in it; want {kinds}, or .tar shards of them")
    return items


def _folder(path: Path) -> Iterator[Item]:
    if not path.is_dir():
        raise AnimaticError(f"{path}: no such folder; want clips, .tar shards, hf:NAME or toy")
    told = _metadata(path)
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in (*MOVING, *PICTURES) and not file.name.startswith("."):
            beside = file.with_suffix(".txt")
            caption = told.get(str(file.relative_to(path)))
            if caption is None and beside.is_file():
                caption = beside.read_text("utf-8").strip()
            yield Item(str(file), caption, partial(Video.load, file), file.suffix.lower() in PICTURES)


def _metadata(path: Path) -> dict[str, str]:
    """Captions by file from `metadata.csv` or `metadata.jsonl`, as `imagefolder` has them."""
    rows: list[dict[str, str]] = []
    table = next((t for t in (path / "metadata.csv", path / "metadata.jsonl") if t.exists()), None)
    if table is None:
        return {}
    try:
        if table.suffix == ".csv":
            with table.open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
        else:
            rows = [json.loads(line) for line in table.read_text("utf-8").splitlines() if line.strip()]
    except (json.JSONDecodeError, UnicodeDecodeError, csv.Error) as error:
        raise AnimaticError(f"{table}: cannot be read ({error})") from None
    captions = {}
    for row in rows:
        file = next((row[c] for c in FILE_COLUMNS if c in row), None)
        caption = next((row[c] for c in CAPTION_COLUMNS if c in row), None)
        if file is None or caption is None:
            raise AnimaticError(f"{table}: columns are {', '.join(row)}; want file_name and text")
        captions[file] = str(caption)
    return captions


def _shard(path: Path) -> Iterator[Item]:
    """WebDataset's habit: members of one stem belong together; the index is read once, members by their offset."""
    try:
        with tarfile.open(path) as tar:
            members = [m for m in tar.getmembers() if m.isfile()]
            texts = {m.name: tar.extractfile(m).read() for m in members if m.name.endswith((".txt", ".json"))}  # type: ignore[union-attr]
    except (tarfile.TarError, OSError) as error:
        raise AnimaticError(f"{path}: cannot be read as a tar file ({error})") from None
    for member in members:
        stem, dot, suffix = member.name.rpartition(".")
        if f".{suffix.lower()}" not in (*MOVING, *PICTURES):
            continue
        caption = texts[f"{stem}.txt"].decode().strip() if f"{stem}.txt" in texts else None
        if caption is None and f"{stem}.json" in texts:
            said = json.loads(texts[f"{stem}.json"])
            caption = next((str(said[c]) for c in CAPTION_COLUMNS if c in said), None)
        read = partial(_member, path, member.offset_data, member.size, f"{dot}{suffix}", member.name)
        yield Item(f"{path}:{member.name}", caption, read, f".{suffix.lower()}" in PICTURES)


def _member(shard: Path, offset: int, size: int, suffix: str, name: str) -> Video:
    with shard.open("rb") as stream:
        stream.seek(offset)
        return _decoded(stream.read(size), suffix, f"{shard}:{name}")


def _decoded(data: bytes, suffix: str, name: str) -> Video:
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        try:
            return Video.load(file.name)
        except AnimaticError as error:
            raise AnimaticError(str(error).replace(file.name, name)) from None


def _hub(name: str) -> list[Item]:
    try:
        datasets: Any = import_module("datasets")
    except ImportError:
        raise AnimaticError(f"hf:{name} needs the package datasets; pip install datasets") from None
    name, _, split = name.partition(":")
    try:
        table = datasets.load_dataset(name, split=split or "train")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise AnimaticError(f"hf:{name} cannot be had ({type(error).__name__}: {reason})") from None
    column = next((c for c in ("video", "image") if c in table.column_names), None)
    if column is None:
        raise AnimaticError(f"hf:{name}: columns are {', '.join(table.column_names)}; want video or image")
    kind = datasets.Video if column == "video" else datasets.Image
    table = table.cast_column(column, kind(decode=False))
    words = next((c for c in CAPTION_COLUMNS if c in table.column_names), None)

    def read(row: int) -> Video:
        said = table[row][column]
        suffix = Path(said.get("path") or "").suffix or (".mp4" if column == "video" else ".png")
        return _decoded(said["bytes"] or Path(said["path"]).read_bytes(), suffix, f"hf:{name}[{row}]")

    captions = table[words] if words else [None] * len(table)
    return [Item(f"hf:{name}[{i}]", c, partial(read, i), column == "image") for i, c in enumerate(captions)]


class ToyWorld(Sequence[Item]):
    """A million films of the toy world, drawn when asked for; every one captioned."""

    def __init__(self, frames: int, seed: int, size: int = toyworld.SIZE, between: int = 1) -> None:
        self.frames, self.seed, self.size, self.between = frames, seed, size, between

    @staticmethod
    def named(source: str, frames: int, seed: int) -> ToyWorld:
        told = source.split(":")[1:]
        if len(told) > 2 or not all(part.isdigit() and int(part) for part in told):
            raise AnimaticError(f"data is {source!r}; want toy, toy:PIXELS or toy:PIXELS:BETWEEN, such as toy:128:4")
        size, between = (*map(int, told), *(toyworld.SIZE, 1)[len(told) :])
        if size % toyworld.GRID:
            raise AnimaticError(f"data is {source!r}; the toy world has multiples of {toyworld.GRID} pixels")
        return ToyWorld(frames if between == 1 else KEYS, seed, size, between)

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]
        scene = invent(random.Random(f"{self.seed}/toy/{index}"), self.frames)
        return Item(f"toy:{index}", scene.prompt, partial(_film, scene, self.frames, self.size, self.between))


def _film(scene: Scene, frames: int, size: int, between: int) -> Video:
    return Video(toyworld.draw(scene, frames, size, between)[0], 8.0)


@dataclass(frozen=True)
class Cut:
    """How a clip is cut out of a file: `frames` at `fps` (0: the file's own rate), resized and cropped to the size.

    A file that is too short is played round (`loop`), holds its last frame (`hold`), goes back and forth (`bounce`) or
    is left out (`skip`); frames are never made up.
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

    def picture(self) -> Cut:
        return replace(self, frames=1)

    def __call__(self, video: Video, rng: random.Random, name: str = "clip") -> np.ndarray:
        """uint8 `[frame, height, width, 3]`. Raises `AnimaticError` where the file is too short to be used."""
        stride = video.fps / self.fps if self.fps else 1.0
        span = int((self.frames - 1) * stride) + 1
        if span > len(video) and self.short == "skip":
            raise AnimaticError(f"{name}: {len(video)} frames, {span} are needed; left out")
        room = max(0, len(video) - span)
        first = 0 if self.steady else rng.randint(0, room)
        chosen = video.frames[[self._index(first + int(i * stride), len(video)) for i in range(self.frames)]]
        u, v = (0.5, 0.5) if self.steady else (rng.random(), rng.random())
        chosen = _fitted(chosen, self.width, self.height, u, v, float(self.crop))
        return chosen[:, :, ::-1].copy() if self.flip and not self.steady and rng.random() < 0.5 else chosen

    def _index(self, wanted: int, count: int) -> int:
        if wanted < count:
            return wanted
        match self.short:
            case "hold":
                return count - 1
            case "bounce":
                at = wanted % max(1, 2 * count - 2)
                return at if at < count else 2 * count - 2 - at
            case _:
                return wanted % count


def _fitted(frames: np.ndarray, width: int, height: int, u: float, v: float, least: float) -> np.ndarray:
    """Resized until the size is covered, to no less than `least`; then cropped at (u, v) of the room left."""
    if frames.shape[1:3] == (height, width):
        return frames
    scale = max(width / frames.shape[2], height / frames.shape[1], least)
    wide, high = max(width, round(frames.shape[2] * scale)), max(height, round(frames.shape[1] * scale))
    x, y = int(u * (wide - width) + 0.5), int(v * (high - height) + 0.5)
    method = Image.Resampling.LANCZOS
    resized = [
        np.asarray(Image.fromarray(f).resize((wide, high), method))[y : y + height, x : x + width] for f in frames
    ]
    return np.stack(resized)


Read = Callable[[Item, Cut, random.Random], Tensor]


def _pixels(item: Item, cut: Cut, rng: random.Random) -> Tensor:
    return torch.from_numpy(cut(item.read(), rng, item.name))


@dataclass(frozen=True)
class Sample:
    """One row: `frames` uint8 `[video + pictures, height, width, 3]`, a caption for the clip and one for each picture.

    Where latents are kept, `frames` are those: float `[video + pictures, channel, h, w]`. `skipped` are the complaints
    about files that were passed over on the way here.
    """

    frames: Tensor
    captions: tuple[str, ...]
    seed: int
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()


class Clips(Dataset[Sample]):
    """Position -> sample; `images` pictures stand beside each clip (from the picture files, or single frames)."""

    def __init__(
        self, items: Sequence[Item], cut: Cut, images: int = 0, seed: int = 0, read: Read | None = None
    ) -> None:
        self.cut, self.images, self.seed, self.read = cut, images, seed, read or _pixels
        if isinstance(items, ToyWorld):
            self.clips: Sequence[Item] = items
            self.stills: Sequence[Item] = items
        else:
            moving, still = [i for i in items if not i.picture], [i for i in items if i.picture]
            self.clips = moving or still if cut.frames == 1 else moving
            self.stills = still or moving
        if not self.clips:
            raise AnimaticError(f"{len(items)} pictures and no clip; want clips, or frames = 1")

    def __getitem__(self, position: int) -> Sample:
        rng = random.Random(f"{self.seed}/{position}")
        seed, skipped = rng.getrandbits(63), []
        clip, item = self._cut(self.clips, "clip", position, self.cut, rng, skipped)
        frames, captions, names = [clip], [item.caption or ""], [item.name]
        for k in range(self.images):
            at = position * self.images + k
            still, item = self._cut(self.stills, "still", at, self.cut.picture(), rng, skipped)
            frames.append(still)
            captions.append(item.caption or "")
            names.append(item.name)
        return Sample(torch.cat(frames), tuple(captions), seed, tuple(names), tuple(skipped))

    def caption(self, position: int) -> str:
        """That of the clip at `position`, its file not looked at."""
        return self.clips[self._turn("clip", position, len(self.clips), 0)].caption or ""

    def _cut(
        self, items: Sequence[Item], kind: str, position: int, cut: Cut, rng: random.Random, skipped: list[str]
    ) -> tuple[Tensor, Item]:
        count = len(items)
        for tries in range(count):
            item = items[self._turn(kind, position, count, tries)]
            try:
                return self.read(item, cut, rng), item
            except AnimaticError as error:
                skipped.append(str(error))
        raise AnimaticError(f"none of {count} files can be used; the first: {skipped[0]}")

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


def captions_of(items: Sequence[Item], most: int = 8000) -> list[str]:
    """The captions of the first items. Raises where one is missing, and says how many are."""
    if isinstance(items, ToyWorld):
        return [items[i].caption or "" for i in range(most)]
    missing = [item.name for item in items if item.caption is None]
    if missing:
        few = f"{len(missing)} of {len(items)} have no caption"
        raise AnimaticError(f"{missing[0]}: {few}; want NAME.txt beside it, metadata.csv or .jsonl, or --text none")
    return [item.caption or "" for item in items[:most]]
