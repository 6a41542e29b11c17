"""A request answered on the command line: progress, the files of the video, of its plan and of its attention."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..callbacks import RENDERING, Callback
from ..core.options import option
from ..errors import AnimaticError
from ..media.encoding import WRITERS
from ..request import GenerationRequest
from ..transitions import CROSSFADE
from ..video import Video
from .console import bar, line
from .outputs import RENDER, Target

if TYPE_CHECKING:
    from ..binding import BoundRequest
    from ..core.backbone import Backbone


@dataclass(frozen=True)
class AttentionOptions:
    """What is written of a run's attention beside the video."""

    save_attention: bool = option(False, "Also write where each object's words are attended to: a gif.")
    attention_of: str = option(
        "", "Also write it layer by layer: globs and numbers, with commas; png.", "LAYERS[@STEPS]"
    )
    attention_back: bool = option(False, "What words attend to, not what attends to them (CogVideoX).")
    attention_within: str = option(
        "", "Also write how words attend to words, and the video to itself in space and time; npy, png.",
        "LAYERS[@STEPS]",
    )  # fmt: skip
    save_masks: bool = option(False, "Also write the masks by which windows share (ditctrl:masked); npy, png.")


@dataclass
class Terminal(Callback):
    """Progress bars, and notes as lines."""

    silent: bool
    _bars: dict[str, Any] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    def on_progress(self, task: str, done: int, count: int) -> None:
        if task not in self._bars:
            self._open.close()  # the bar of the task before
            self._bars[task] = self._open.enter_context(bar(task, self.silent))
        self._bars[task](done, count)
        if task == RENDERING and done == count:
            self._open.close()

    def on_note(self, message: str) -> None:
        line(message, self.silent)

    def close(self) -> None:
        self._open.close()


@dataclass
class KeptRender(Callback):
    """Writes the render before its finishing stages, so that one that fails loses nothing."""

    target: Target
    request: GenerationRequest
    shown: Any
    file: Path | None = None

    def on_render(self, video: Video) -> None:
        self.target.write_plan(video, self.shown, self.request)
        self.file = video.save(self.target.file(RENDER), scale=1)


def write_generated(
    request: GenerationRequest,
    target: Target,
    model: Backbone,
    attention: AttentionOptions,
    as_json: bool,
    marks: dict[str, Any] | None = None,
) -> None:
    """Answer a request and write its files. `model` is loaded; `marks` are further metadata of the video."""
    from ..attention_export import AttentionExport
    from ..binding import bind
    from ..generation import generate

    began = time.perf_counter()
    bound = bind(request, model)
    (shown,) = bound.shown([request.edited_story])
    reads_text = attention.save_attention or attention.attention_of
    if reads_text and "text maps" not in model.provides:
        option = "--save-attention" if attention.save_attention else "--attention-of"
        raise AnimaticError(f"{option}: {model.name} has no attention to words; want it without, or another model")
    export = AttentionExport(
        attention.save_attention,
        attention.attention_of,
        attention.attention_back,
        attention.attention_within,
        attention.save_masks,
    )
    if reads_text and not shown.tracks:
        line("nothing is placed in the scene: attention to every word of its prompt is written", as_json)

    # the name of the files: another result that has it stays
    complete = replace(bound.complete(request.story, request.sampling.seed, shown), edits=request.edits)
    target = target.free(complete, [*WRITERS, ".json", RENDER], as_json)

    terminal = Terminal(as_json)
    kept = KeptRender(target, request, shown)
    try:
        video = generate(request, model, [terminal, export, kept], keep=target.path)
    except AnimaticError as error:
        if kept.file is None:
            raise
        raise AnimaticError(f"{error}; the video before that is kept: {kept.file}") from None
    finally:
        terminal.close()

    # what was requested and cannot be there is said, rather than missed later
    if attention.save_masks and not export.mask_count:
        line(f"nothing shares by a mask under {bound.method.name!r}: no masks are written", as_json)
    if not request.finishing.stages:
        _print_length(bound, video, request, as_json)
        sheet, plan = target.write_plan(video, shown, request)
    else:
        sheet, plan = target.file(".sheet.png"), target.file(".json")
    video = replace(video, info={**video.info, **(marks or {})})
    files = target.write_video(video, as_json)
    files += export.write(video, target.path, target.formats)

    if as_json:
        result = {"videos": [str(f) for f in files], "scene": str(plan), "sheet": str(sheet)}
        took = {"seed": request.sampling.seed, "seconds": round(time.perf_counter() - began, 2)}
        print(json.dumps({**result, **took}))
        return

    # for a reader: what was understood, then the files
    for scene in request.story:
        if scene.reasoning:
            line(scene.reasoning, style="dim")
    for label, file in (*(("video", f) for f in files), ("scene", plan), ("sheet", sheet)):
        line(f"{label}  {file}")


def _print_length(bound: BoundRequest, video: Video, request: GenerationRequest, as_json: bool) -> None:
    """Say where a story in windows does not last as long as its scenes."""
    wanted = sum(scene.seconds for scene in request.story)
    lasts = len(video) / video.fps
    if bound.windowed and abs(lasts - wanted) > 1 / video.fps:
        counts = f"{bound.method.name} counts scenes"
        reason = counts if bound.layout.by_count else f"{bound.backbone.name} makes whole pieces of time"
        if CROSSFADE in str(bound.layout.transitions):
            reason = "scenes that fade into one another overlap"
        line(f"lasts {lasts:.2f} s, not {wanted:g} s: {reason}", as_json)
