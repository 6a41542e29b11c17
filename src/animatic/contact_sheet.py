"""Contact sheets: all frames of a video on one page, and pages as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .core.arithmetic import ceil_div
from .scene import Scene
from .video import Video, draw_boxes


def contact_sheet(video: Video, scene: Scene | None = None, columns: int = 8, title: str = "") -> Image.Image:
    """All frames on one page in reading order, numbered, the scene's boxes drawn on a second row each."""
    height, width = video.frames.shape[1:3]
    scale = max(1, ceil_div(128, max(height, width)))
    rows = [video.enlarged(scale).frames]
    if scene is not None and scene.tracks:
        rows.append(draw_boxes(video, scene, scale).frames)
    height *= scale
    width *= scale

    # A heading, then groups of a caption line and one row of frames for each version; all in pixels.
    margin, gap, line, title_line = 16, 6, 18, 24
    count = len(video)
    columns = min(columns, count)
    page_width = max(2 * margin + columns * width + (columns - 1) * gap, 360)
    bold = ImageFont.load_default(16)
    font = ImageFont.load_default(12)
    title_lines = _wrapped(title, bold, page_width - 2 * margin)
    head = margin + title_line * len(title_lines)
    group = line + len(rows) * (height + gap)
    page_height = head + ceil_div(count, columns) * group + margin

    page = Image.new("RGB", (page_width, page_height), "white")
    draw = ImageDraw.Draw(page)
    for i, text in enumerate(title_lines):
        draw.text((margin, margin // 2 + title_line * i), text, fill="#222222", font=bold)

    # In reading order.
    for f in range(count):
        row, column = divmod(f, columns)
        x = margin + column * (width + gap)
        y = head + row * group
        draw.text((x, y), f"{f + 1}  {f / video.fps:.2f} s", fill="#777777", font=font)
        for r, frames in enumerate(rows):
            top = y + line + r * (height + gap)
            page.paste(Image.fromarray(frames[f]), (x, top))
    return page


def evenly(video: Video, count: int) -> Video:
    """At most `count` >= 2 frames of a video, the first and the last among them, in a copy without sound."""
    kept = min(count, len(video))
    picked = np.linspace(0, len(video) - 1, kept).round().astype(int)

    # the frames keep their times, but for rounding
    fps = video.fps * (kept - 1) / (len(video) - 1) if kept > 1 else video.fps
    return replace(video, frames=video.frames[picked], fps=fps, sound=None)


def comparison_sheet(rows: Mapping[str, Video], title: str = "") -> Image.Image:
    """Videos on one page, one below the other, each under its name; all are of one size."""
    pages = [contact_sheet(video, columns=len(video), title=name) for name, video in rows.items()]
    margin, title_line = 16, 24
    width = max(page.width for page in pages)
    bold = ImageFont.load_default(16)
    title_lines = _wrapped(title, bold, width - 2 * margin)
    head = margin // 2 + title_line * len(title_lines)

    sheet = Image.new("RGB", (width, head + sum(page.height for page in pages)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, text in enumerate(title_lines):
        draw.text((margin, margin // 2 + title_line * i), text, fill="#222222", font=bold)

    # one page a video, from the top
    top = head
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height
    return sheet


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines: list[str] = []

    # As many words a line as fit.
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
