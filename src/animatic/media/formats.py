"""Kinds of video files, and what a file says it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"),
    *(".gif", ".webp", ".apng"),
)
"""What clips are looked for by, in lower case. A file is read by what it holds, whatever its name."""

KEY = "animatic"  # of the metadata that says what a file was made from
INFO_BYTES = 2**26  # most that a file may say of how it was made
HD_LINES = 720  # from here on colours are BT.709's, below BT.601's, where a file does not say


def embedded_info(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON that we wrote into a file, from its metadata; nothing where somebody else wrote the comment."""
    texts = (metadata.get(name) for name in (KEY, "comment", "xmp"))
    text = next(filter(None, texts), "{}")
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return data if isinstance(data, dict) else {}
