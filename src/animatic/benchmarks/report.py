"""The report page: tables with intervals, bars, published rows next to ours, passes and failures with boxes."""

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
from .results import CaseResult, Summary, summarise
from .run_store import Run
from .scoring import ScoringSettings, read_score

SOURCES = {
    "lmd": "LMD, arXiv 2305.13655, README of the authors' code (SD 1.5, OWL-ViT)",
    "lvd": "LVD, arXiv 2309.17444, README of the authors' code (ModelScope 256, OWL-ViT)",
}
TALL = 128  # pixels of a frame on the page


@dataclass(frozen=True)
class PublishedRow:
    """A row of a paper: accuracies in per cent, task by task in the benchmark's order."""

    benchmark: str
    stage: int
    method: str
    scores: tuple[float, ...]
    overall: float


def published(benchmark: str, stage: int = 2) -> list[PublishedRow]:
    """The published rows of a benchmark: stage 1 of plans, stage 2 of what was generated."""
    text = (files("animatic.benchmarks") / "published.json").read_text("utf-8")

    # As the papers print them, in per cent.
    chosen = []
    for fields in json.loads(text):
        row = PublishedRow(**{**fields, "scores": tuple(fields["scores"])})
        if row.benchmark == benchmark and row.stage == stage:
            chosen.append(row)
    return chosen


@dataclass(frozen=True)
class ScoredRun:
    """A run with its score."""

    name: str
    run: Run
    scoring: ScoringSettings
    results: list[CaseResult]
    summary: Summary


def write(folders: Sequence[Path], out: Path, shown: int = 2) -> list[Path]:
    """Write a page (`out`, .html) with the tables and examples of scored runs, and the tables as markdown next to it.

    `shown`: how many passes, and failures, of each run and task are shown. Raises `AnimaticError` where the runs are of
    different benchmarks, or one was not scored.
    """
    if out.suffix != ".html":
        raise AnimaticError(f"{out}: want a name that ends in .html")
    runs = [_scored(folder) for folder in folders]
    names = {scored.run.settings.benchmark for scored in runs}
    if len(names) > 1:
        raise AnimaticError(f"the runs are of {' and '.join(sorted(names))}; want runs of one benchmark")

    # What both pages show.
    name = names.pop()
    metrics = dict.fromkeys(metric for scored in runs for metric in scored.summary.means)
    values = {
        "benchmark": name,
        "tasks": list(runs[0].summary.tasks),
        "runs": runs,
        "published": published(name),
        "source": SOURCES.get(name, ""),
        "metrics": list(metrics),
        "cell": cell,
        "fast": FAST,
    }

    # The page alone has examples.
    shown_examples = {scored.name: examples(scored, shown) for scored in runs}

    # What is measured is escaped: prompts may hold anything.
    page = page_template("report.html").render({**values, "examples": shown_examples})
    write_atomically(out, page.encode())
    markdown = out.with_suffix(".md")
    table = page_template("report.md").render(values)
    write_atomically(markdown, table.encode())
    return [out, markdown]


def page_template(name: str) -> Template:
    """A page of this folder, to be filled in; values are escaped in html."""
    # Jinja's blocks leave no empty lines behind.
    page = Environment(autoescape=name.endswith(".html"), trim_blocks=True, lstrip_blocks=True)
    return page.from_string((files("animatic.benchmarks") / name).read_text("utf-8"))


def data_uri(picture: bytes, kind: str) -> str:
    """A picture inside a page; `kind` is webp or png."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _scored(folder: Path) -> ScoredRun:
    run = Run(folder)

    # What was counted is counted again, with this version.
    scoring, results = read_score(folder)
    return ScoredRun(folder.name, run, scoring, results, summarise(results))


def cell(tally: Tally) -> str:
    """Accuracy with its 95 % interval in per cent, "-" where nothing was judged."""
    if not tally.total:
        return "-"
    low, high = tally.interval()
    interval = f"{100 * low:.0f}-{100 * high:.0f}"
    return f"{tally.accuracy:.1%} ({interval})"


def examples(scored: ScoredRun, shown: int) -> dict[str, dict[bool, list[dict[str, str]]]]:
    """The first passes and failures of each task: prompt, note and a picture of the detections (a data URI)."""
    jobs = {job.number: job for job in scored.run.jobs()}
    chosen: dict[str, dict[bool, list[dict[str, str]]]] = {}
    for result in scored.results:
        kinds = chosen.setdefault(result.task, {True: [], False: []})
        if result.passed is None:
            continue

        # In the order of the cases, so that two reports show the same ones.
        same_kind = kinds[result.passed]
        if len(same_kind) < shown:
            same_kind.append(_example(scored.run, jobs[result.number], result))
    return chosen


def _example(run: Run, job: Job, result: CaseResult) -> dict[str, str]:
    # Without detections there is no picture: the reason is shown instead.
    note = result.reason or f"job {job.number}, seed {job.seed}"
    picture = ""
    if result.detections is not None:
        try:
            frames = run.video(job).frames[list(result.frames)]
            picture = strip(frames, result.detections)
        except AnimaticError as error:
            note = str(error)
    return {"prompt": job.prompt, "note": note, "picture": picture}


def strip(frames: np.ndarray, seen: Scene) -> str:
    """Frames in a row with the boxes of `seen`, as a data URI."""
    # Small frames are enlarged by whole pixels, large rows are made smaller.
    scale = max(1, round(TALL / frames.shape[1]))
    drawn = draw_boxes(Video(frames), seen, scale).frames
    row = Image.fromarray(np.concatenate(list(drawn), 1))
    if row.height > 2 * TALL:
        row = row.resize((row.width * TALL // row.height, TALL))
    buffer = io.BytesIO()
    row.save(buffer, "WEBP", quality=80)
    return data_uri(buffer.getvalue(), "webp")
