"""Captions of clips in the layouts that are in use: tables, lists, and one text file for each clip.

| layout | known from |
|---|---|
| `metadata.csv`, `.jsonl` (an object a line) or `.json` (an array of them) | `imagefolder` of datasets |
| `prompts.txt` and `videos.txt`, line by line | diffusers' training script of CogVideoX |
| `NAME.txt` or `NAME.json` next to `NAME.mp4` | WebDataset, webuis |
| `captions/NAME.txt` or `labels/NAME.txt` for `videos/NAME.mp4` | CogVideo's SAT |

Paths are posix paths within the folder or tar whose files they are. All text is UTF-8; a byte
order mark is left out.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import AnimaticError, counted, listed
from ..media.formats import PICTURE_SUFFIXES
from .matching import MEDIA_SUFFIXES, CaptionRow, Finder, Note, matched

TEXT_SUFFIXES = (".txt", ".json", ".csv", ".jsonl")
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.json")
LISTS = ("prompts.txt", "videos.txt")
CAPTION_FOLDERS = ("captions", "caption", "prompts", "texts", "labels")
CAPTION_COLUMNS = ("text", "caption", "prompt")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "file_path", "video", "video_path", "media_path")


def captions_of_files(
    place: str, media: Sequence[str], texts: Mapping[str, Callable[[], bytes]], note: Note
) -> dict[str, str]:
    """The captions of the files `media`, by their paths; files that have none are left out.

    `texts` are the files with `TEXT_SUFFIXES` and what reads them; `place` goes before paths in messages. Raises
    `AnimaticError` where a table or text cannot be read, where a row lacks a file or a text, where no row of a table
    names a file or one names several, and where a file has two captions.
    """
    found: dict[str, str] = {}
    finder = Finder(media)

    # Tables first: a clip's own text file that differs is reported below.
    in_lists: set[str] = set()
    for path in texts:
        folder, name = posixpath.split(path)
        videos = posixpath.join(folder, LISTS[1])
        if name in TABLES:
            text = decoded(texts[path](), place + path)
            rows = list(_table_rows(place + path, text))
        elif name == LISTS[0] and videos in texts:
            in_lists |= {path, videos}
            rows = list(_list_rows(place, path, videos, texts))
        else:
            continue

        # Two tables may name a file, but not with different captions.
        captions = matched(place + path, folder, rows, finder, note)
        differing = [file for file, caption in captions.items() if found.get(file, caption) != caption]
        if differing:
            raise AnimaticError(f"{place}{path}: {differing[0]} has another caption in another table; want one of them")
        found |= captions

    # Then the text file of each clip.
    used: set[str] = set()
    differing = []
    for path in media:
        for text in _own_texts(path):
            if text not in texts:
                continue
            caption = _own_caption(text, texts, place)
            if caption is None:
                continue
            used.add(text)
            if found.setdefault(path, caption) != caption:
                differing.append(text)
            break

    if differing:
        count = counted(len(differing), "text")
        note(f"{place}{differing[0]}: {count} other than in the table, whose captions are used")

    # Text that belongs to no clip is often a misspelt name.
    known = used | in_lists
    unused = [path for path in texts if path.endswith(".txt") and path not in known]
    if unused:
        count = counted(len(unused), "text file")
        note(f"{place}{unused[0]}: {count} not used, since no clip has this name")
    return found


def decoded(data: bytes, name: str) -> str:
    """UTF-8 text, its byte order mark left out. Raises `AnimaticError` where it is something else."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnimaticError(f"{name}: byte {error.start + 1} is no UTF-8; want a text saved as UTF-8") from None


def first_column(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of these columns that a row has, in any case of letters."""
    # Of columns that differ in case alone the first counts.
    columns = reversed(list(row))
    known = {str(column).strip().lower(): column for column in columns}
    for name in names:
        if name in known:
            return known[name]
    return None


def caption_text(value: Any, where: str) -> str:
    """A caption as it stands in a table. Raises `AnimaticError`, naming the row, where it is no text."""
    is_text = isinstance(value, str | int) and not isinstance(value, bool)
    if not is_text:
        raise AnimaticError(f"{where}: its text is {str(value)[:40]!r}, not a sentence; want one caption a file")
    return str(value).strip()


def _own_texts(path: str) -> Iterator[str]:
    """The paths at which the caption of a file may be: in its own folder, or at its place in a folder of captions."""
    stem, suffix = posixpath.splitext(path)
    yield f"{stem}.txt"
    yield f"{stem}.json"

    # The folder of captions is inside, above or in the place of the clip's.
    parts = stem.split("/")
    for name in CAPTION_FOLDERS:
        if name == "labels" and suffix.lower() in PICTURE_SUFFIXES:
            continue  # in data sets for detectors these hold boxes
        for i in range(len(parts)):
            before, after = parts[:i], parts[i:]
            yield "/".join([*before, name, *after]) + ".txt"
            if i < len(parts) - 1:
                yield "/".join([*before, name, *after[1:]]) + ".txt"


def _own_caption(path: str, texts: Mapping[str, Callable[[], bytes]], place: str) -> str | None:
    """The text of `NAME.txt`, or the caption in `NAME.json`; None where that has none."""
    text = decoded(texts[path](), place + path)
    if path.endswith(".txt"):
        return text.strip()

    # WebDataset's JSON has more keys; without a caption it is something else.
    row = _json(text, place + path)
    if not isinstance(row, dict):
        return None
    column = first_column(row, CAPTION_COLUMNS)
    if column is None:
        return None
    return caption_text(row[column], place + path)


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise AnimaticError(f"{where}: not JSON ({error})") from None


def _table_rows(name: str, text: str) -> Iterator[CaptionRow]:
    """The rows of a table, by the kind of its name."""
    readers = {".csv": _csv_rows, ".jsonl": _json_lines, ".json": _json_array}
    _, suffix = posixpath.splitext(name)
    for where, row in readers[suffix](name, text):
        file_column = first_column(row, FILE_COLUMNS)
        caption_column = first_column(row, CAPTION_COLUMNS)
        if file_column is None or caption_column is None:
            raise AnimaticError(f"{where}: its columns are {listed(row)}; want file_name and text")

        # Tables of other programs may have numbers or nothing for a path.
        file = row[file_column]
        if not isinstance(file, str) or not file.strip():
            raise AnimaticError(f"{where}: its file_name is {str(file)[:40]!r}; want the path of a file")
        yield CaptionRow(where, file.strip(), caption_text(row[caption_column], where))


def _csv_rows(name: str, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows by the names of the first line; commas, semicolons or tabs, whichever that line has most of."""
    first_line, _, _ = text.partition("\n")
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(row)]
    except csv.Error as error:
        raise AnimaticError(f"{name}: line {reader.line_num} is not CSV ({error})") from None
    if not rows:
        raise AnimaticError(f"{name}: is empty; want a first line of file_name,text")

    # Without a header the first row would be taken for the names of the columns.
    _, head = rows[0]
    if any(cell.lower().endswith(MEDIA_SUFFIXES) for cell in head):
        raise AnimaticError(f"{name}: line 1 is {listed(head)[:60]!r}; want the names of the columns, file_name,text")

    # A row of another length has an unquoted delimiter, or lacks one.
    columns = len(head)
    for line, row in rows[1:]:
        where = f"{name}: line {line}"
        if len(row) > columns:
            raise AnimaticError(
                f"{where} has {len(row)} columns, not {columns}; a text with {delimiter!r} wants quotes"
            )
        if len(row) < columns:
            missing = ", ".join(head[len(row) :])
            raise AnimaticError(f"{where} has no {missing}; want {columns} columns")
        yield where, dict(zip(head, row, strict=True))


def _json_lines(name: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if text.lstrip().startswith("["):
        raise AnimaticError(f"{name}: is a JSON array; want one object a line, or the name metadata.json")
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a caption may hold other separators
        where = f"{name}: line {number}"
        if line.strip():
            yield where, _object(_json(line, where), where)


def _json_array(name: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = _json(text, name)
    if not isinstance(rows, list):
        raise AnimaticError(f"{name}: is {type(rows).__name__}; want an array of objects")
    for number, row in enumerate(rows, 1):
        where = f"{name}: row {number}"
        yield where, _object(row, where)


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise AnimaticError(f'{where} is {str(row)[:40]!r}; want {{"file_name": ..., "text": ...}}')
    return row


def _list_rows(place: str, path: str, videos: str, texts: Mapping[str, Callable[[], bytes]]) -> Iterator[CaptionRow]:
    """`prompts.txt` and `videos.txt`, whose lines belong together."""
    prompts_file = place + path
    prompts = decoded(texts[path](), prompts_file).rstrip().split("\n")
    files = decoded(texts[videos](), place + videos).rstrip().split("\n")
    if len(prompts) != len(files):
        raise AnimaticError(f"{prompts_file}: {len(prompts)} lines for {len(files)} of {LISTS[1]}; want one a video")
    for number, (prompt, file) in enumerate(zip(prompts, files, strict=True), 1):
        where = f"{place}{videos}: line {number}"
        yield CaptionRow(where, file.strip(), prompt.strip())
