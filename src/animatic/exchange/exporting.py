"""Writes a story for other tools: boxes by frame, masks, LVD's text, an animated SVG, a timeline for editors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..errors import AnimaticError, listed
from ..files import PARTIAL, make_folder, sync_tree, write_atomically
from ..planning.text_forms import to_text
from ..scene import Story
from .edit_list import timeline
from .frames import in_frames, names_of_tracks
from .svg import svg


@dataclass(frozen=True)
class ExportOptions:
    """Frames a second, the size (width, height) of masks and SVG in pixels, and the video a timeline refers to."""

    fps: float = 8.0
    size: tuple[int, int] = (512, 512)
    video: str = ""


@dataclass(frozen=True)
class Format:
    """A format of `export`: what it is, the ending of its file ("" for a folder), and what writes it."""

    about: str
    suffix: str
    write: Callable[[Story, Path, ExportOptions], None]


def export(story: Story, target: Path, form: str = "", options: ExportOptions | None = None) -> Path:
    """Write `story` to the file or folder `target`, in the format `form` or that of the file's ending.

    Raises `AnimaticError` where there is no such format, or the target is there already.
    """
    chosen = FORMATS.get(form or _by_suffix(target))
    if chosen is None:
        asked = f"form is {form!r}" if form else f"{target} has the ending {target.suffix!r}"
        raise AnimaticError(f"{asked}; want one of {listed(FORMATS)}")
    if target.exists():
        raise AnimaticError(f"{target} is there already; want another name")
    chosen.write(story, target, options or ExportOptions())
    return target


def _by_suffix(target: Path) -> str:
    """The name of the format whose files end so; folders have no ending, and are masks."""
    suffix = target.suffix.lower()
    return next((name for name, form in FORMATS.items() if form.suffix == suffix), "")


def write_boxes(story: Story, target: Path, options: ExportOptions) -> None:
    """Phrases and boxes of every frame, as diffusers' GLIGEN pipelines take them (`gligen_phrases`, `gligen_boxes`).

    Boxes are (x0, y0, x1, y1) in fractions of the frame; objects that are absent in a frame are not listed in it.
    """
    frames = []
    for part in in_frames(story, options.fps):
        for f in range(part.count):
            present = [(track.phrase, track.boxes[f]) for track in part.tracks if track.boxes[f] is not None]
            phrases = [phrase for phrase, _ in present]
            boxes = [box for _, box in present]
            frames.append({"prompt": part.scene.prompt, "gligen_phrases": phrases, "gligen_boxes": boxes})
    content = json.dumps({"fps": options.fps, "frames": frames}, ensure_ascii=False, indent=1) + "\n"
    write_atomically(target, content.encode())


def write_masks(story: Story, target: Path, options: ExportOptions) -> None:
    """A folder for each scene and object with a black and white PNG for each frame: white is inside the box."""
    width, height = options.size
    if not (0 < width <= 8192 and 0 < height <= 8192):
        raise AnimaticError(f"size is {width}x{height}; want 1 to 8192 pixels a side")
    parts = in_frames(story, options.fps)

    # A whole folder or none.
    partial = target.with_name(f"{PARTIAL}{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        make_folder(partial)
        for number, part in enumerate(parts):
            for name, track in zip(names_of_tracks(part.scene), part.tracks, strict=True):
                folder = partial / f"scene-{number}" / name
                folder.mkdir(parents=True)
                for f, box in enumerate(track.boxes):
                    # Frame by frame, as all masks of a long story fill the memory.
                    one_frame = replace(part.scene, tracks=(replace(track, boxes=(box,)),))
                    mask = one_frame.masks(1, height, width)[0, 0]
                    Image.fromarray(mask).save(folder / f"{f:05d}.png")
        sync_tree(partial)
        partial.rename(target)
    except OSError as error:
        raise AnimaticError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_lvd(story: Story, target: Path, options: ExportOptions) -> None:
    """The text of LVD's or LMD's planner; takes one scene of six key frames, or one still."""
    if len(story) != 1:
        raise AnimaticError(f"the story has {len(story)} scenes; LVD's text takes one")
    write_atomically(target, (to_text(story[0]) + "\n").encode())


def write_svg(story: Story, target: Path, options: ExportOptions) -> None:
    width, height = options.size
    write_atomically(target, svg(in_frames(story, options.fps), options.fps, width, height))


def write_timeline(story: Story, target: Path, options: ExportOptions) -> None:
    write_atomically(target, timeline(in_frames(story, options.fps), options.fps, options.video))


FORMATS = {
    "boxes": Format("phrases and boxes of each frame, as GLIGEN pipelines take them", ".json", write_boxes),
    "masks": Format("a folder with a mask (PNG) for each object and frame", "", write_masks),
    "lvd": Format("the text of LVD's or LMD's planner", ".txt", write_lvd),
    "svg": Format("an animation that browsers play", ".svg", write_svg),
    "timeline": Format("a timeline for video editors (OpenTimelineIO)", ".otio", write_timeline),
}
