"""`--seeds`: one scene from several seeds, and a page on which they are compared."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..background import Background
from ..contact_sheet import comparison_sheet, evenly, png
from ..errors import AnimaticError
from ..files import write_atomically
from ..media.encoding import WRITERS
from ..request import GenerationRequest
from ..video import Video
from .console import line
from .outputs import Target
from .video import AttentionOptions, Terminal

if TYPE_CHECKING:
    from ..core.backbone import Backbone


def write_seeds(
    request: GenerationRequest,
    count: int,
    target: Target,
    model: Backbone,
    attention: AttentionOptions,
    as_json: bool,
) -> None:
    """Videos NAME-seedS of `count` seeds, from the request's own upwards, and the page NAME.seeds.png."""
    from ..binding import bind
    from ..seed_series import generate_seeds

    if attention != AttentionOptions():
        raise AnimaticError("--seeds writes no attention; want one seed for it")
    began = time.perf_counter()
    first = request.sampling.seed
    seeds = range(first, first + count)

    # each video's name, where another result that has it stays
    bound = bind(request, model)
    (shown,) = bound.shown([request.edited_story])
    targets = []
    for seed in seeds:
        complete = bound.complete(request.story, seed, shown)
        named = replace(target, path=target.path.with_name(f"{target.path.name}-seed{seed}"))
        targets.append(named.free(complete, [*WRITERS, ".json"], as_json))

    # a video is written while the next is rendered
    rows: dict[str, Video] = {}
    terminal = Terminal(as_json)
    try:
        with Background[list[Path]]() as writing:
            videos = generate_seeds(request, seeds, model, [terminal])
            for seed, one, video in zip(seeds, targets, videos, strict=True):
                writing.submit(one.write_video, video, as_json)
                rows[f"seed {seed}"] = evenly(video, 8)
    finally:
        terminal.close()
    files = [file for written in writing.results for file in written]

    page = comparison_sheet(rows, title=shown.prompt)
    sheet = target.file(".seeds.png")
    write_atomically(sheet, png(page))
    if as_json:
        result = {"videos": [str(f) for f in files], "sheet": str(sheet), "seeds": list(seeds)}
        print(json.dumps({**result, "seconds": round(time.perf_counter() - began, 2)}))
        return
    for label, file in (*(("video", f) for f in files), ("sheet", sheet)):
        line(f"{label}  {file}")
