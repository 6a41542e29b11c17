"""Sources of clips: a folder, one file, tar shards, a Hugging Face data set, or the toy world."""

from __future__ import annotations

import os
import posixpath
import random
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import AnimaticError, counted, listed
from ..media.formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from ..scene import Scene
from ..toy import grid_world as toyworld
from ..toy.grid_captions import invent
from ..video import Video
from .annotations import CAPTION_COLUMNS, TEXT_SUFFIXES, caption_text, captions_beside, first_column
from .matching import MEDIA_SUFFIXES, Note

KEYS = 8  # key frames of a toy-world video with interpolated frames
ARCHIVES = ("__MACOSX", "@eaDir")  # folders that operating systems add, ignored like hidden ones


@dataclass(frozen=True)
class Item:
    """A training file; `read` decodes all of it.

    `caption` is None where there is none; `label` is the name of its folder, "" at the top. `version` changes with the
    contents of the file, for caches.
    """

    name: str
    caption: str | None
    read: Callable[[], Video]
    picture: bool = False
    label: str = ""
    version: str = ""


def items_of(
    source: str, frames: int = 16, seed: int = 0, note: Note = lambda line: None, captions: bool = True
) -> Sequence[Item]:
    """The items of "toy", "hf:NAME", a clip, a `.tar` file, or a folder of clips, pictures and `.tar` files.

    "toy:128:4" is the toy world at 128 pixels, with 8 key frames and 3 interpolated frames between each two. `note` is
    called with a line for whatever is ignored. Without `captions` none are read. Raises `AnimaticError` where there are
    no data or a caption cannot be read.
    """
    path = Path(source)
    if source.partition(":")[0] == "toy":
        if os.path.exists(path):
            note(f"data is {source}, the toy world; the folder of this name is ./{source}")
        return ToyWorld.named(source, frames, seed)
    if source.startswith("hf:"):
        return _hub(source.removeprefix("hf:"))
    if os.path.isdir(path):
        return _folder(path, note, captions)
    if not os.path.exists(path):
        raise AnimaticError(f"{path}: no such folder or file; want clips, .tar shards, hf:NAME or toy")
    if path.suffix.lower() == ".tar":
        return list(_shard(path, note, captions))
    if path.suffix.lower() in MEDIA_SUFFIXES:
        own = [path.with_suffix(suffix) for suffix in (".txt", ".json")]
        return list(_files(path.parent, [path.name, *(text.name for text in own if text.exists())], note, captions))
    raise AnimaticError(f"{path}: not a clip by its name; want {', '.join(VIDEO_SUFFIXES)}, .tar, or a folder of them")


def _folder(root: Path, note: Note, captions: bool) -> list[Item]:
    """Every clip and picture under `root`, loose or in shards."""
    paths = _walk(root)
    items = list(_files(root, paths, note, captions))
    for path in paths:
        if path.lower().endswith(".tar"):
            items += _shard(root / path, note, captions)
    if not items:
        kinds = ", ".join(MEDIA_SUFFIXES)
        raise AnimaticError(f"{root}: no clips or pictures in it; want {kinds}, or .tar shards of them")

    others = [path for path in paths if not path.lower().endswith((*MEDIA_SUFFIXES, *TEXT_SUFFIXES, ".tar"))]
    if others:
        kinds = Counter(posixpath.splitext(path)[1] or "no ending" for path in others)
        counts = listed(f"{kind} ({count})" for kind, count in kinds.most_common())
        note(f"{root}: {counted(len(others), 'file')} of other kinds passed over: {counts}")
    return items


def _walk(root: Path) -> list[str]:
    """Paths of the files under `root`, in order; links are followed, hidden files and folders are ignored."""

    def refuse(error: OSError) -> None:
        raise AnimaticError(f"{error.filename}: cannot be read ({error.strerror})")

    paths, seen = [], set()
    for folder, inner, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        inner[:] = [] if real in seen else [name for name in inner if not _hidden(name)]  # a link may lead back
        if real not in seen:
            paths += [Path(folder, name).relative_to(root).as_posix() for name in files if not _hidden(name)]
        seen.add(real)
    return sorted(paths, key=lambda path: path.split("/"))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ARCHIVES


def _of_kind(paths: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    return [path for path in paths if path.lower().endswith(tuple(suffixes))]


def _files(root: Path, paths: Sequence[str], note: Note, captions: bool) -> Iterator[Item]:
    """The clips and pictures among `paths`, which lie under `root`, with their captions."""
    media = _of_kind(paths, MEDIA_SUFFIXES)
    texts = {_in_lower_case(path): partial(_bytes, root / path) for path in _of_kind(paths, TEXT_SUFFIXES)}
    found = captions_beside(f"{root}/", media, texts, note) if media and captions else {}
    for path in media:
        file = root / path
        state = file.stat()
        version = f"{state.st_size} {state.st_mtime_ns}"
        yield Item(str(file), found.get(path), partial(Video.load, file), *_kind_and_label(path), version)


def _in_lower_case(path: str) -> str:
    """The path of a text with the letters of its ending small."""
    stem, suffix = posixpath.splitext(path)
    return stem + suffix.lower()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AnimaticError(f"{path}: cannot be read ({error.strerror})") from None


def _kind_and_label(path: str) -> tuple[bool, str]:
    """Whether it is a picture; the name of its folder, which imagefolder takes for its class."""
    return path.lower().endswith(PICTURE_SUFFIXES), posixpath.basename(posixpath.dirname(path))


def _shard(path: Path, note: Note, captions: bool) -> Iterator[Item]:
    """A tar file as a folder; its index is read once, its clips later by their offset, so it must be uncompressed."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = {m.name: m for m in tar.getmembers() if m.isfile() and not any(map(_hidden, _parts(m.name)))}
            texts = {n: tar.extractfile(members[n]).read() for n in _of_kind(members, TEXT_SUFFIXES)}  # type: ignore[union-attr]
    except (tarfile.TarError, OSError) as error:
        raise AnimaticError(f"{path}: cannot be read as an uncompressed tar file ({error})") from None
    media = _of_kind(members, MEDIA_SUFFIXES)
    readers = {_in_lower_case(name): partial(bytes, data) for name, data in texts.items()}
    found = captions_beside(f"{path}:", media, readers, note) if media and captions else {}
    for name in media:
        member = members[name]
        label = f"{path}:{name}"
        read = partial(_member, path, member.offset_data, member.size, posixpath.splitext(name)[1], label)
        yield Item(label, found.get(name), read, *_kind_and_label(name), f"{member.size} {member.mtime}")


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part != "."]


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
        raise AnimaticError(f"hf:{name}: columns are {listed(table.column_names)}; want video or image")
    kind = datasets.Video if column == "video" else datasets.Image
    table = table.cast_column(column, kind(decode=False))

    def read(row: int) -> Video:
        media = table[row][column]
        suffix = Path(media.get("path") or "").suffix or (".mp4" if column == "video" else ".png")
        return _decoded(media["bytes"] or Path(media["path"]).read_bytes(), suffix, f"hf:{name}[{row}]")

    # A caption may be missing in some rows; a class is a number whose name the table's features know.
    words = first_column(table.features, CAPTION_COLUMNS)
    captions = table[words] if words else [None] * len(table)
    classes = table.features.get("label")
    labels = table["label"] if isinstance(classes, datasets.ClassLabel) else []
    names = ["" if label is None or label < 0 else classes.int2str(label) for label in labels] or [""] * len(table)
    version = str(getattr(table, "_fingerprint", ""))
    items = []
    for i, caption in enumerate(captions):
        text = None if caption is None else caption_text(caption, f"hf:{name}[{i}]")
        items.append(Item(f"hf:{name}[{i}]", text, partial(read, i), column == "image", names[i], version))
    return items


class ToyWorld(Sequence[Item]):
    """A million random videos of the toy world, rendered on access, each with a caption."""

    captioned = True

    def __init__(self, frames: int, seed: int, size: int = toyworld.SIZE, between: int = 1) -> None:
        self.frames = frames
        self.seed = seed
        self.size = size
        self.between = between

    def without_captions(self) -> ToyWorld:
        """The same videos with empty captions."""
        unconditional = ToyWorld(self.frames, self.seed, self.size, self.between)
        unconditional.captioned = False
        return unconditional

    @staticmethod
    def named(source: str, frames: int, seed: int) -> ToyWorld:
        """The toy world of a source such as "toy" or "toy:128:4". Raises `AnimaticError` where it is something else."""
        match = re.fullmatch(r"toy(?::([1-9]\d*))?(?::([1-9]\d*))?", source)
        if match is None:
            raise AnimaticError(f"data is {source!r}; want toy, toy:PIXELS or toy:PIXELS:BETWEEN, such as toy:128:4")
        size = int(match[1] or toyworld.SIZE)
        between = int(match[2] or 1)
        if size % toyworld.GRID:
            raise AnimaticError(f"data is {source!r}; the toy world has multiples of {toyworld.GRID} pixels")
        return ToyWorld(frames if between == 1 else KEYS, seed, size, between)

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]
        scene = invent(random.Random(f"{self.seed}/toy/{index}"), self.frames)
        caption = scene.prompt if self.captioned else ""
        return Item(f"toy:{index}", caption, partial(_render, scene, self.frames, self.size, self.between))


def _render(scene: Scene, frames: int, size: int, between: int) -> Video:
    return Video(toyworld.draw(scene, frames, size, between)[0], 8.0)
