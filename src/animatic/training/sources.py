"""Where clips come from: a folder with captions, tar shards, a Hugging Face data set, or the endless toy world."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import AnimaticError
from ..scene import Scene
from ..video import Video
from . import toyworld
from .captions import invent

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
MOVING = (".gif", ".mp4", ".webm", ".webp", ".mov", ".mkv", ".avi")
KEYS = 8  # key frames of a film of the toy world in which things glide
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
    table = next((t for t in (path / "metadata.csv", path / "metadata.jsonl") if t.exists()), None)
    if table is None:
        return {}
    try:
        text = table.read_text("utf-8")
        lines = (line for line in text.splitlines() if line.strip())
        rows = csv.DictReader(io.StringIO(text)) if table.suffix == ".csv" else map(json.loads, lines)
        told = [(row, _first(row, FILE_COLUMNS), _first(row, CAPTION_COLUMNS)) for row in rows]
    except (json.JSONDecodeError, UnicodeDecodeError, csv.Error) as error:
        raise AnimaticError(f"{table}: cannot be read ({error})") from None
    for row, file, caption in told:
        if file is None or caption is None:
            raise AnimaticError(f"{table}: columns are {', '.join(row)}; want file_name and text")
    return {str(file): str(caption) for _, file, caption in told}


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The column of the first of these names that there is; None: of none."""
    return next((row[name] for name in names if name in row), None)


def _shard(path: Path) -> Iterator[Item]:
    """WebDataset's habit: members of one stem belong together; the index is read once, members by their offset."""
    try:
        with tarfile.open(path) as tar:
            members = [m for m in tar.getmembers() if m.isfile()]
            texts = {m.name: tar.extractfile(m).read() for m in members if m.name.endswith((".txt", ".json"))}  # type: ignore[union-attr]
    except (tarfile.TarError, OSError) as error:
        raise AnimaticError(f"{path}: cannot be read as a tar file ({error})") from None
    for member in members:
        stem, _, suffix = member.name.rpartition(".")
        suffix = f".{suffix}"
        if suffix.lower() not in (*MOVING, *PICTURES):
            continue
        caption = texts[f"{stem}.txt"].decode().strip() if f"{stem}.txt" in texts else None
        if caption is None and f"{stem}.json" in texts:
            caption = _first(json.loads(texts[f"{stem}.json"]), CAPTION_COLUMNS)
        name = f"{path}:{member.name}"
        read = partial(_member, path, member.offset_data, member.size, suffix, name)
        yield Item(name, None if caption is None else str(caption), read, suffix.lower() in PICTURES)


def _member(shard: Path, offset: int, size: int, suffix: str, name: str) -> Video:
    with shard.open("rb") as stream:
        stream.seek(offset)
        return _decoded(stream.read(size), suffix, name)


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
        told = re.fullmatch(r"toy(?::([1-9]\d*))?(?::([1-9]\d*))?", source)
        if told is None:
            raise AnimaticError(f"data is {source!r}; want toy, toy:PIXELS or toy:PIXELS:BETWEEN, such as toy:128:4")
        size, between = int(told[1] or toyworld.SIZE), int(told[2] or 1)
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


def captions_of(items: Sequence[Item], most: int = 8000) -> list[str]:
    """The captions of the first items. Raises where one is missing, and says how many are."""
    if isinstance(items, ToyWorld):
        return [items[i].caption or "" for i in range(most)]
    missing = [item.name for item in items if item.caption is None]
    if missing:
        few = f"{len(missing)} of {len(items)} have no caption"
        raise AnimaticError(f"{missing[0]}: {few}; want NAME.txt beside it, metadata.csv or .jsonl, or --text none")
    return [item.caption or "" for item in items[:most]]
