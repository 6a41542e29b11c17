"""A Hugging Face data set of clips or pictures as a source of training files."""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnimaticError, listed
from .annotations import CAPTION_COLUMNS, caption_text, first_column
from .items import Item, decoded

if TYPE_CHECKING:
    from ..media.frame_stream import FrameSource


def hub_items(name: str) -> list[Item]:
    """The rows of a data set `NAME[:SPLIT]`. Raises `AnimaticError` where it cannot be had or has no clips."""
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

    # Clips or pictures, left as files: they are decoded here, when they are read.
    present = [column for column in ("video", "image") if column in table.column_names]
    if not present:
        raise AnimaticError(f"hf:{name}: columns are {listed(table.column_names)}; want video or image")
    column = present[0]
    kind = datasets.Video if column == "video" else datasets.Image
    table = table.cast_column(column, kind(decode=False))

    def content_of(row: int) -> bytes:
        media = table[row][column]
        return media["bytes"] or Path(media["path"]).read_bytes()

    def read(row: int) -> FrameSource:
        usual = ".mp4" if column == "video" else ".png"
        suffix = Path(table[row][column].get("path") or "").suffix or usual
        return decoded(content_of(row), suffix, f"hf:{name}[{row}]")

    def digest(row: int) -> str:
        return hashlib.sha256(content_of(row)).hexdigest()

    # A caption may be missing in some rows; a class is a number whose name the table's features know.
    caption_column = first_column(table.features, CAPTION_COLUMNS)
    captions = table[caption_column] if caption_column else [None] * len(table)
    classes = table.features.get("label")
    has_classes = isinstance(classes, datasets.ClassLabel)
    labels = table["label"] if has_classes else [None] * len(table)

    # The fingerprint of datasets changes with the data.
    version = str(getattr(table, "_fingerprint", ""))
    items = []
    for i, (caption, label) in enumerate(zip(captions, labels, strict=True)):
        where = f"hf:{name}[{i}]"
        text = None if caption is None else caption_text(caption, where)
        class_name = "" if label is None or label < 0 else classes.int2str(label)
        row = (partial(read, i), partial(digest, i))
        items.append(Item(where, text, *row, column == "image", class_name, version))
    return items
