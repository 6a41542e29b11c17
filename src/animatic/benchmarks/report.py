"""A page to look at: tables with intervals, bars, published rows beside ours, and passes and failures with boxes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, Template
from PIL import Image

from ..errors import AnimaticError
from ..files import write_atomically
from ..scene import Scene
from ..video import Video, draw_boxes
from .cases import Tally
from .jobs import Job
from .metrics import FAST
from .run_store import Run
from .scoring import CaseResult, ScoringSettings, Summary, read_score, summarise

SOURCES = {
    "lmd": "LMD, Lian et al. 2023, README of the authors' code (SD 1.5, OWL-ViT)",
    "lvd": "LVD, Lian et al. 2024, README of the authors' code (ModelScope 256, OWL-ViT)",
}
TALL = 128  # pixels of a frame on the page


@dataclass(frozen=True)
class PublishedRow:
    """A row of a paper: shares in per cent, task by task in the benchmark's order."""

    benchmark: str
    stage: int
    method: str
    scores: tuple[float, ...]
    overall: float


def published(benchmark: str, stage: int = 2) -> list[PublishedRow]:
    """The published rows of a benchmark: stage 1 of plans, stage 2 of what was generated."""
    rows = json.loads((files("animatic.benchmarks") / "published.json").read_text("utf-8"))
    every = [PublishedRow(**{**row, "scores": tuple(row["scores"])}) for row in rows]
    return [row for row in every if row.benchmark == benchmark and row.stage == stage]


@dataclass(frozen=True)
class ScoredRun:
    """A run with its score."""

    name: str
    run: Run
    scoring: ScoringSettings
    verdicts: list[CaseResult]
    summary: Summary


def write(folders: Sequence[Path], out: Path, shown: int = 2) -> list[Path]:
    """Write the page to `out` (.html) and the tables as markdown beside it; `shown` examples a run, task and kind."""
    if out.suffix != ".html":
        raise AnimaticError(f"{out}: want a name that ends in .html")
    runs = [_scored(folder) for folder in folders]
    names = {r.run.settings.benchmark for r in runs}
    if len(names) > 1:
        raise AnimaticError(f"the runs are of {' and '.join(sorted(names))}; want runs of one benchmark")
    name = names.pop()
    told = {
        "benchmark": name,
        "tasks": list(runs[0].summary.tasks),
        "runs": runs,
        "published": published(name),
        "source": SOURCES.get(name, ""),
        "metrics": list(dict.fromkeys(m for r in runs for m in r.summary.means)),
        "cell": cell,
        "fast": FAST,
    }
    page = {**told, "examples": {r.name: examples(r, shown) for r in runs}}
    write_atomically(out, page_template("report.html").render(page).encode())
    beside = out.with_suffix(".md")
    write_atomically(beside, page_template("report.md").render(told).encode())
    return [out, beside]


def page_template(name: str) -> Template:
    """A page of this folder, to be filled in; values are escaped in html."""
    page = Environment(autoescape=name.endswith(".html"), trim_blocks=True, lstrip_blocks=True)
    return page.from_string((files("animatic.benchmarks") / name).read_text("utf-8"))


def data_uri(picture: bytes, kind: str) -> str:
    """A picture inside a page; `kind` is webp or png."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _scored(folder: Path) -> ScoredRun:
    run, (scoring, verdicts) = Run(folder), read_score(folder)
    return ScoredRun(folder.name, run, scoring, verdicts, summarise(verdicts))


def cell(tally: Tally) -> str:
    """A share with its number and interval, "-" where nothing was judged."""
    if not tally.total:
        return "-"
    low, high = tally.interval()
    return f"{tally.accuracy:.1%} ({100 * low:.0f}-{100 * high:.0f})"


def examples(scored: ScoredRun, shown: int) -> dict[str, dict[bool, list[dict[str, str]]]]:
    """Of each task the first passes and failures: a prompt, a note, and a picture of what was seen (a data URI)."""
    jobs = {job.number: job for job in scored.run.jobs()}
    made: dict[str, dict[bool, list[dict[str, str]]]] = {}
    for verdict in scored.verdicts:
        kinds = made.setdefault(verdict.task, {True: [], False: []})
        if verdict.passed is not None and len(kinds[verdict.passed]) < shown:
            kinds[verdict.passed].append(_example(scored.run, jobs[verdict.number], verdict))
    return made


def _example(run: Run, job: Job, verdict: CaseResult) -> dict[str, str]:
    note, picture = verdict.reason or f"job {job.number}, seed {job.seed}", ""
    if verdict.detections is not None:
        try:
            picture = strip(run.video(job).frames[list(verdict.frames)], verdict.detections)
        except AnimaticError as error:
            note = str(error)
    return {"prompt": job.prompt, "note": note, "picture": picture}


def strip(frames: np.ndarray, seen: Scene) -> str:
    """Frames in a row with the boxes of `seen`, as a data URI."""
    scale = max(1, round(TALL / frames.shape[1]))
    drawn = draw_boxes(Video(frames), seen, scale).frames
    row = Image.fromarray(np.concatenate(list(drawn), 1))
    if row.height > 2 * TALL:
        row = row.resize((row.width * TALL // row.height, TALL))
    buffer = io.BytesIO()
    row.save(buffer, "WEBP", quality=80)
    return data_uri(buffer.getvalue(), "webp")
