"""Where results go: `-o PATH` is the file where it has a suffix, else a folder. Nothing that is there is lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from ..contact_sheet import contact_sheet, png
from ..core.options import option
from ..errors import AnimaticError
from ..files import check_writable, fresh_path, write_atomically
from ..media.encoding import FORMATS, WRITERS, check_format
from ..request import FinishingOptions, GenerationRequest
from ..request_files import request_in
from ..scene import Scene, load_story, save_story
from ..timeline import Timeline
from ..video import Video
from .console import line

RENDER = ".0-render.mkv"  # what is written before finishing stages, beside what they keep: NAME.1-STAGE.mkv
OUT = "Folder for the results, or the file: a path with a suffix."
DEFAULT = "out"

Out = Annotated[str, typer.Option("--out", "-o", metavar="PATH", help=OUT)]


@dataclass(frozen=True)
class OutputOptions:
    """Where the files of a video go, and in which formats."""

    format: str = option("", f"One or more, with commas: {FORMATS}; mp4 if not given.")
    name: str = option("", "Name of the files in the folder; made from the prompt if not given.")


@dataclass(frozen=True)
class Target:
    """Files of one result: `path` without a suffix, and the formats of the video."""

    path: Path
    formats: tuple[str, ...]

    @staticmethod
    def of(out: str, name: str, format: str = "", default: str = "mp4") -> Target:
        """The target that `--out` and `--format` say; `name` is that of the files in a folder.

        Raises `AnimaticError` where a format is unknown, or the folder cannot be written to.
        """
        formats = [text.strip() for text in format.split(",") if text.strip()]
        for each in formats:
            check_format(each)
        path = Path(out)
        if is_folder(out):
            target = Target(path / name, tuple(formats or [default]))
        else:
            suffix = path.suffix.removeprefix(".")
            if path.suffix not in WRITERS:
                raise AnimaticError(f"out is {out!r}: unknown kind of file; want one of {FORMATS}, or a folder")
            target = Target(path.with_suffix(""), tuple(dict.fromkeys([suffix, *formats])))
        check_writable(target.path)
        return target

    def file(self, ending: str) -> Path:
        """The file of this name that ends in `ending`, such as ".json"."""
        return self.path.with_name(self.path.name + ending)

    @property
    def videos(self) -> list[Path]:
        return [self.file(f".{suffix}") for suffix in self.formats]

    def free(self, request: GenerationRequest, endings: Sequence[str], silent: bool = False) -> Target:
        """This target, or a numbered one, which is printed, where files of its name hold another request's result."""

        def same(file: Path) -> bool:
            try:
                if file.suffix == ".json":
                    return load_story(file) == request.edited_story

                # a render that is kept for its stages has not been through them yet
                is_render = file.name.endswith(RENDER)
                wanted = replace(request, finishing=FinishingOptions()) if is_render else request
                return request_in(file) == wanted
            except AnimaticError:
                return False  # not ours, or damaged: left as it is

        free = fresh_path(self.path, same, endings)
        if free != self.path:
            line(f"{self.path}.* holds another result, which is kept; this one is {free.name}", silent)
        return replace(self, path=free)

    def write_plan(self, video: Video, shown: Scene | Timeline, request: GenerationRequest) -> tuple[Path, Path]:
        """The contact sheet with the boxes, and the scene or story in JSON: their files."""
        sheet, plan = self.file(".sheet.png"), self.file(".json")
        page = contact_sheet(video, shown.at(len(video)), title=shown.prompt)
        write_atomically(sheet, png(page))
        save_story(request.edited_story, plan)
        return sheet, plan

    def write_video(self, video: Video, silent: bool = False) -> list[Path]:
        """The video in every format; what a format cannot hold is printed."""
        for file in self.videos:
            for loss in video.losses(file.suffix):
                line(loss, silent)
        return [video.save(file) for file in self.videos]


def check_name(out: str, name: str) -> None:
    """Raise where a name is given for a file that has one by `--out`."""
    if name and not is_folder(out):
        raise AnimaticError(f"name is {name!r}, and out is the file {out!r}; want one of them")


def is_folder(out: str) -> bool:
    """Whether a path that a user typed names a folder: one that is there, or one without a suffix."""
    return out.endswith(("/", os.sep)) or os.path.isdir(out) or not Path(out).suffix
