"""What a folder can be after a power cut, from a recording of all that was changed in it.

A file's bytes are sure once it was synced, and a name once its folder was: until then a disk may keep all, none or some
of them, and in any order. Names within one folder are kept in the order of their changes, as journals do; a write may
be kept in part. `recorder.c` writes the recording.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512  # bytes that a disk writes whole


@dataclass(frozen=True)
class Change:
    """By `kind`: c new file, w write, t cut to `offset` bytes, s sync, u removal, r rename, m new folder, n note."""

    kind: str
    path: str
    target: str
    offset: int
    data: bytes


@dataclass
class FileNode:
    base: bytes = b""
    changes: list[tuple[int, Change]] = field(default_factory=list)
    synced: int = -1

    def content(self, policy: str, draw: random.Random) -> bytes:
        """The bytes on the disk, where of those that are not synced `policy` says what is kept."""
        data = bytearray(self.base)
        for number, change in self.changes:
            part = change.data
            if number > self.synced:
                if policy == "none" or (policy == "some" and draw.random() < 0.5):
                    continue
                if policy == "some":
                    part = part[: draw.randrange(len(part) // SECTOR + 2) * SECTOR]
                if policy == "zeros":
                    part = bytes(len(part))
            if change.kind == "t":
                data = data[: change.offset].ljust(change.offset, b"\0")
                continue
            data = data.ljust(change.offset, b"\0")
            data[change.offset : change.offset + len(part)] = part
        return bytes(data)


@dataclass
class FolderNode:
    base: dict[str, FileNode | FolderNode] = field(default_factory=dict)
    changes: list[tuple[int, dict[str, FileNode | FolderNode | None]]] = field(default_factory=list)
    synced: int = -1
    now: dict[str, FileNode | FolderNode] = field(default_factory=dict)

    def change(self, number: int, names: dict[str, FileNode | FolderNode | None]) -> None:
        self.changes.append((number, names))
        _apply(self.now, names)

    def entries(self, policy: str, draw: random.Random) -> dict[str, FileNode | FolderNode]:
        """The names on the disk: those that are synced, and of the others as many as `policy` says."""
        sure = sum(number <= self.synced for number, _ in self.changes)
        kept = {"none": sure, "all": len(self.changes)}.get(policy, draw.randint(sure, len(self.changes)))
        entries = dict(self.base)
        for _, names in self.changes[:kept]:
            _apply(entries, names)
        return entries


def _apply(entries: dict[str, FileNode | FolderNode], names: dict[str, FileNode | FolderNode | None]) -> None:
    for name, node in names.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def read_log(path: Path) -> list[Change]:
    """The changes of a recording, in their order; one that was cut at its end is left out."""
    data = path.read_bytes()
    changes, at = [], 0
    try:
        while at < len(data):
            kind = chr(data[at])
            at += 1
            names = []
            for _ in range(2):
                (length,) = struct.unpack_from("<I", data, at)
                names.append(data[at + 4 : at + 4 + length].decode())
                at += 4 + length
            offset, size = struct.unpack_from("<qq", data, at)
            at += 16
            has_data = kind == "w"
            changes.append(Change(kind, *names, offset, data[at : at + size] if has_data else b""))
            at += size if has_data else 0
    except struct.error:
        pass
    return changes


def tree(folder: Path) -> FolderNode:
    """A folder as it is on the disk, all of it synced."""
    made = FolderNode()
    for path in folder.iterdir():
        made.base[path.name] = tree(path) if path.is_dir() else FileNode(path.read_bytes())
    made.now = dict(made.base)
    return made


def after(start: Path, root: str, changes: list[Change]) -> FolderNode:
    """The folder after some changes, of which each node knows what is sure."""
    top = tree(start)

    def found(path: str) -> tuple[FolderNode | None, str, FileNode | FolderNode | None]:
        """The folder of a path, its name, and what has it."""
        names = path[len(root) :].strip("/").split("/")
        node: FileNode | FolderNode | None = top
        if names == [""]:
            return None, "", top
        for name in names[:-1]:
            node = node.now.get(name) if isinstance(node, FolderNode) else None
        if not isinstance(node, FolderNode):
            return None, names[-1], None
        return node, names[-1], node.now.get(names[-1])

    for number, change in enumerate(changes):
        folder, name, node = found(change.path)
        match change.kind:
            case "c" | "m" if folder is not None and node is None:
                folder.change(number, {name: FileNode() if change.kind == "c" else FolderNode()})
            case "w" | "t" if isinstance(node, FileNode):
                node.changes.append((number, change))
            case "s" if node is not None:
                node.synced = number
            case "u" if folder is not None and node is not None:
                folder.change(number, {name: None})
            case "r" if folder is not None and node is not None:
                target, other, _ = found(change.target)
                assert target is not None, change
                if target is folder:
                    folder.change(number, {name: None, other: node})
                else:
                    target.change(number, {other: node})
                    folder.change(number, {name: None})
    return top


def on_disk(node: FolderNode, names: str, data: str, draw: random.Random) -> dict[str, bytes | None]:
    """What a power cut leaves, by relative path; a folder is None."""
    state: dict[str, bytes | None] = {}
    for name, child in node.entries(names, draw).items():
        if isinstance(child, FolderNode):
            state[name] = None
            state |= {f"{name}/{rest}": content for rest, content in on_disk(child, names, data, draw).items()}
        else:
            state[name] = child.content(data, draw)
    return state


def states(
    start: Path, root: str, changes: list[Change], seed: int, samples: int, every: int = 1
) -> Iterator[tuple[int, list[str], dict[str, bytes | None]]]:
    """Each different state that a power cut can leave, with its place and what had been reported by then.

    At each change: nothing that is not sure; names without bytes, as holes and as zeros; bytes without names; and
    `samples` drawn ones. Of all these every `every`-th is laid out, one at a time: a training run's fill the memory.
    """
    kinds = [("none", "none"), ("all", "none"), ("all", "zeros"), ("none", "all"), *[("some", "some")] * samples]
    seen: set[bytes] = set()
    for number in range(seed % every, state_count(changes, samples), every):
        count, kind = divmod(number, len(kinds))
        notes = [change.path for change in changes[:count] if change.kind == "n"]
        state = on_disk(after(start, root, changes[:count]), *kinds[kind], random.Random(f"{seed} {number}"))

        # by its digest: the states themselves are as large as the folder
        key = hashlib.sha256(str(len(notes)).encode())
        for name, content in sorted(state.items()):
            key.update(f"\n{name} {content is None or len(content)}\n".encode())
            key.update(content or b"")
        if key.digest() not in seen:
            seen.add(key.digest())
            yield count, notes, state


def state_count(changes: list[Change], samples: int) -> int:
    """How many states `states` goes through, alike ones counted again."""
    return (len(changes) + 1) * (4 + samples)


def lay_out(state: dict[str, bytes | None], folder: Path) -> None:
    """Write a state into an empty folder."""
    folder.mkdir(parents=True)
    for name, content in sorted(state.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
