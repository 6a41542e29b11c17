"""Sources of clips: a folder, one file, tar shards, or the toy world."""

from __future__ import annotations

import hashlib
import os
import posixpath
import random
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnimaticError, counted, listed
from ..files import digest_of
from ..media.formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from ..scene import Scene
from ..toy.captions import invent
from ..toy.world import SIZE, draw
from ..video import Video
from .annotations import TEXT_SUFFIXES, captions_of_files
from .hub_data import hub_items
from .items import Item, decoded
from .matching import MEDIA_SUFFIXES, Note

if TYPE_CHECKING:
    from ..media.frame_stream import FrameSource

PIECE = 2**20  # bytes of an archive that are hashed at a time
KEYS = 8  # key frames of a toy-world video with interpolated frames
ARCHIVES = ("__MACOSX", "@eaDir")  # folders that operating systems add, ignored like hidden ones


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
        return hub_items(source.removeprefix("hf:"))
    if os.path.isdir(path):
        return _folder(path, note, captions)
    if not os.path.exists(path):
        raise AnimaticError(f"{path}: no such folder or file; want clips, .tar shards, hf:NAME or toy")
    if path.suffix.lower() == ".tar":
        return list(_shard(path, note, captions))
    if path.suffix.lower() in MEDIA_SUFFIXES:
        own = [path.with_suffix(suffix) for suffix in (".txt", ".json")]
        names = [path.name, *(text.name for text in own if text.exists())]
        return list(_files(path.parent, names, note, captions))
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

    known = (*MEDIA_SUFFIXES, *TEXT_SUFFIXES, ".tar")
    others = [path for path in paths if not path.lower().endswith(known)]
    if others:
        kinds = Counter(posixpath.splitext(path)[1] or "no ending" for path in others)
        counts = listed(f"{kind} ({count})" for kind, count in kinds.most_common())
        note(f"{root}: {counted(len(others), 'file')} of other kinds passed over: {counts}")
    return items


def _walk(root: Path) -> list[str]:
    """Paths of the files under `root`, in order; links are followed, hidden files and folders are ignored."""

    def refuse(error: OSError) -> None:
        raise AnimaticError(f"{error.filename}: cannot be read ({error.strerror})")

    # In the order of the tree on every machine.
    paths: list[str] = []
    seen: set[str] = set()
    for folder, inner, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link may lead back
            inner.clear()
            continue
        seen.add(real)

        # os.walk goes into the folders that are left in its list.
        inner[:] = [name for name in inner if not _hidden(name)]
        for name in files:
            if not _hidden(name):
                path = Path(folder, name).relative_to(root)
                paths.append(path.as_posix())
    return sorted(paths, key=lambda path: path.split("/"))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ARCHIVES


def _of_kind(paths: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    return [path for path in paths if path.lower().endswith(tuple(suffixes))]


def _files(root: Path, paths: Sequence[str], note: Note, captions: bool) -> Iterator[Item]:
    """The clips and pictures among `paths`, which lie under `root`, with their captions."""
    # Captions are found for all files together: tables name many.
    media = _of_kind(paths, MEDIA_SUFFIXES)
    texts = {_in_lower_case(path): partial(_bytes, root / path) for path in _of_kind(paths, TEXT_SUFFIXES)}
    found = captions_of_files(f"{root}/", media, texts, note) if media and captions else {}
    for path in media:
        file = root / path
        version = _version(file)
        read = partial(Video.source, file)
        digest = partial(digest_of, file)
        yield Item(str(file), found.get(path), read, digest, *_kind_and_label(path), version)


def _version(path: Path) -> str:
    """What changes when a file is written anew: its size in bytes, and its time in nanoseconds; "" of a dead link."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size} {state.st_mtime_ns}"


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
    is_picture = path.lower().endswith(PICTURE_SUFFIXES)
    folder = posixpath.dirname(path)
    return is_picture, posixpath.basename(folder)


def _shard(path: Path, note: Note, captions: bool) -> Iterator[Item]:
    """A tar file as a folder; its index is read once, its clips later by their offset, so it must be uncompressed."""
    members: dict[str, tarfile.TarInfo] = {}
    texts: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar.getmembers():
                is_hidden = any(map(_hidden, _parts(member.name)))
                if member.isfile() and not is_hidden:
                    members[member.name] = member
            for name in _of_kind(members, TEXT_SUFFIXES):
                content: Any = tar.extractfile(members[name])
                texts[name] = content.read()
    except (tarfile.TarError, OSError) as error:
        raise AnimaticError(f"{path}: cannot be read as an uncompressed tar file ({error})") from None

    media = _of_kind(members, MEDIA_SUFFIXES)
    readers = {_in_lower_case(name): partial(bytes, data) for name, data in texts.items()}
    found = captions_of_files(f"{path}:", media, readers, note) if media and captions else {}

    # A clip is read by its offset, without the index of the archive. Times in it may all be 0, so its own counts too.
    shard_version = _version(path)
    for name in media:
        member = members[name]
        _, suffix = posixpath.splitext(name)
        label = f"{path}:{name}"
        place = (path, member.offset_data, member.size)
        read = partial(_member, *place, suffix, label)
        digest = partial(_member_digest, *place)
        version = f"{shard_version} {member.size} {member.mtime}"
        yield Item(label, found.get(name), read, digest, *_kind_and_label(name), version)


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part != "."]


def _member(shard: Path, offset: int, size: int, suffix: str, name: str) -> FrameSource:
    with shard.open("rb") as stream:
        stream.seek(offset)
        return decoded(stream.read(size), suffix, name)


def _member_digest(shard: Path, offset: int, size: int) -> str:
    total = hashlib.sha256()
    with shard.open("rb") as stream:
        stream.seek(offset)
        while size and (piece := stream.read(min(size, PIECE))):
            total.update(piece)
            size -= len(piece)
    return total.hexdigest()


class ToyWorld(Sequence[Item]):
    """A million random videos of the toy world, rendered on access, each with a caption."""

    captioned = True

    def __init__(self, frames: int, seed: int, size: int = SIZE, between: int = 1) -> None:
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
        size = int(match[1] or SIZE)
        between = int(match[2] or 1)
        if size < SIZE // 2:
            raise AnimaticError(f"data is {source!r}; want at least {SIZE // 2} pixels, where objects are still seen")
        return ToyWorld(frames if between == 1 else KEYS, seed, size, between)

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]
        rng = random.Random(f"{self.seed}/toy/{index}")
        scene = invent(rng, self.frames)
        caption = scene.prompt if self.captioned else ""
        read = partial(_render, scene, self.frames, self.size, self.between)
        drawn = f"toy:{self.seed}:{index}:{self.frames}:{self.size}:{self.between}"  # all that decides the pixels
        return Item(f"toy:{index}", caption, read, partial(str, drawn), content=drawn)


def _render(scene: Scene, frames: int, size: int, between: int) -> Video:
    count = (frames - 1) * between + 1
    return Video(draw(scene, count, size)[0], 8.0)
