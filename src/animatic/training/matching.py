"""Which file a row of a table means: by its path, or by the end of one where that fits one file only."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import AnimaticError, counted, listed
from ..media.formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES

MEDIA_SUFFIXES = (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)

Note = Callable[[str], None]
"""Takes one line that a user should read: what was passed over, left out, or taken for something else."""


@dataclass(frozen=True)
class CaptionRow:
    """A caption and the file it is of, as a table has them; `where` is the table and its line, for messages."""

    where: str
    file: str
    text: str


def matched(name: str, folder: str, rows: Sequence[CaptionRow], finder: Finder, note: Note) -> dict[str, str]:
    """Captions by file. A row that names its file exactly goes before one that only names its end."""
    captions: dict[str, str] = {}
    owners: dict[str, CaptionRow] = {}
    unmatched: list[CaptionRow] = []
    by_end: list[tuple[CaptionRow, str]] = []

    def give(path: str, row: CaptionRow) -> None:
        if captions.setdefault(path, row.text) != row.text:
            line = owners[path].where.rpartition(": ")[2]
            raise AnimaticError(f"{row.where}: {row.file} has another caption in {line}; want one caption a file")
        owners.setdefault(path, row)

    # The paths as they are written.
    rest: list[CaptionRow] = []
    for row in rows:
        path = finder.exactly(folder, row.file)
        if path is None:
            rest.append(row)
        else:
            give(path, row)

    # Names without an ending, of another folder, with other capitals.
    exact = set(captions)
    for row in rest:
        paths = [path for path in finder.by_end(row) if path not in exact]
        if not paths:
            unmatched.append(row)
        for path in paths:
            by_end.append((row, path))
            give(path, row)

    # A table for other files is an error; single rows without a file are a note.
    if not captions:
        first = f"; the first: {rows[0].file[:60]!r}" if rows else ""
        raise AnimaticError(f"{name}: none of {counted(len(rows), 'row')} names a file that is there{first}")
    if by_end:
        row, path = by_end[0]
        count = counted(len(by_end), "file")
        note(f"{name}: {count} found by the end of a path, such as {path} by {row.file!r}")
    if unmatched:
        first = f"the first {unmatched[0].file[:60]!r}"
        count = counted(len(rows), "row")
        note(f"{name}: {len(unmatched)} of {count} without a file that is there, {first}")
    return captions


class Finder:
    """Finds the file that a row of a table means among the paths `media`."""

    def __init__(self, media: Sequence[str]) -> None:
        self.media = media
        self.known = frozenset(media)

    def exactly(self, folder: str, name: str) -> str | None:
        """The file at this path, relative to `folder`; "./1.mp4" and "a\\1.mp4" are paths too."""
        for written in (name, name.replace("\\", "/")):
            path = posixpath.normpath(posixpath.join(folder, written))
            if path in self.known:
                return path
        return None

    def by_end(self, row: CaptionRow) -> list[str]:
        """The files whose paths share the longest end with that of a row, endings like ".mp4" being optional.

        Several, such as a clip and its picture, where they differ in nothing else. Raises where they do.
        """
        # The longest end first: a row that has folders, too, means one of them.
        parts = _key(row.file.replace("\\", "/")).split("/")
        for i in range(len(parts)):
            end = "/".join(parts[i:])
            stem, suffix = posixpath.splitext(end)
            found = self._ends.get(end) or []
            if not found and suffix in MEDIA_SUFFIXES:
                found = self._ends.get(stem) or []

            stems = {posixpath.splitext(path)[0] for path in found}
            if len(stems) > 1:
                raise AnimaticError(
                    f"{row.where}: {row.file!r} may be {listed(found, 3)}; want paths within the folder"
                )
            if found:
                return found
        return []

    @cached_property
    def _ends(self) -> dict[str, list[str]]:
        """Files by every end of their path, with and without an ending."""
        ends: dict[str, list[str]] = defaultdict(list)
        for path in self.media:
            parts = _key(path).split("/")
            for i in range(len(parts)):
                end = "/".join(parts[i:])
                for name in (end, posixpath.splitext(end)[0]):
                    ends[name].append(path)
        return dict(ends)


def _key(path: str) -> str:
    """A path without regard to capitals and to how accents are composed (macOS takes them apart)."""
    return unicodedata.normalize("NFC", path).casefold()
