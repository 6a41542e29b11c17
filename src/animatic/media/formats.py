"""Kinds of video files, and the metadata of how a file was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"),
    *(".gif", ".webp", ".apng"),
)
"""Suffixes by which clips are found in folders, in lower case. How a file is read depends on its content."""

KEY = "animatic"  # of the metadata with the request of a file
INFO_BYTES = 2**26  # most of metadata that is read
HD_LINES = 720  # BT.709 from this height on, BT.601 below, where a file does not state its colours


def embedded_info(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON that animatic wrote into a file, from its metadata; empty where there is none."""
    texts = (metadata.get(name) for name in (KEY, "comment", "xmp"))
    text = next(filter(None, texts), "{}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # also of numbers of thousands of digits, and of deep nesting
        return {}
    return data if isinstance(data, dict) else {}
