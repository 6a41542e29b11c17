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
from jinja2 import Environment
from PIL import Image

from ..errors import AnimaticError
from ..jobs import Job
from ..runs import Run
from ..scene import Scene, write_atomically
from ..video import Video, draw_boxes
from .cases import Tally
from .metrics import FAST
from .scoring import Scoring, Summary, Verdict, read_score, summary

SOURCES = {
    "lmd": "LMD, Lian et al. 2023, README of the authors' code (SD 1.5, OWL-ViT)",
    "lvd": "LVD, Lian et al. 2024, README of the authors' code (ModelScope 256, OWL-ViT)",
}
TALL = 128  # pixels of a frame on the page


@dataclass(frozen=True)
class Published:
    """A row of a paper: shares in per cent, task by task in the benchmark's order."""

    benchmark: str
    stage: int
    method: str
    scores: tuple[float, ...]
    overall: float


def published(benchmark: str, stage: int = 2) -> list[Published]:
    """The published rows of a benchmark: stage 1 of plans, stage 2 of what was generated."""
    rows = json.loads((files("animatic.benchmarks") / "published.json").read_text("utf-8"))
    every = [Published(**{**row, "scores": tuple(row["scores"])}) for row in rows]
    return [row for row in every if row.benchmark == benchmark and row.stage == stage]


@dataclass(frozen=True)
class Scored:
    """A run with its score."""

    name: str
    run: Run
    scoring: Scoring
    verdicts: list[Verdict]
    summary: Summary


@dataclass(frozen=True)
class Example:
    """A job on the page: its frames in a row with what was seen, as a data URI."""

    prompt: str
    note: str
    picture: str


def write(folders: Sequence[Path], out: Path, shown: int = 2) -> list[Path]:
    """Write the page to `out` (.html) and the tables as markdown beside it; `shown` examples a run, task and kind."""
    if out.suffix != ".html":
        raise AnimaticError(f"{out}: want a name that ends in .html")
    runs = [_scored(folder) for folder in folders]
    names = {r.run.settings.benchmark for r in runs}
    if len(names) > 1:
        raise AnimaticError(f"the runs are of {' and '.join(sorted(names))}; want runs of one benchmark")
    name = names.pop()
    tasks = list(runs[0].summary.tasks)
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (files("animatic.benchmarks") / "report.html").read_text("utf-8")
    )
    told = page.render(
        benchmark=name,
        tasks=tasks,
        runs=runs,
        published=published(name),
        source=SOURCES.get(name, ""),
        metrics=list(dict.fromkeys(m for r in runs for m in r.summary.means)),
        examples={r.name: examples(r, shown) for r in runs},
        cell=cell,
        fast=FAST,
    )
    write_atomically(out, told.encode())
    beside = out.with_suffix(".md")
    write_atomically(beside, markdown(name, tasks, runs).encode())
    return [out, beside]


def _scored(folder: Path) -> Scored:
    run = Run(folder)
    scoring, verdicts = read_score(folder)
    return Scored(folder.name, run, scoring, verdicts, summary(verdicts))


def cell(tally: Tally) -> str:
    """A share with its number and interval, "-" where nothing was judged."""
    if not tally.total:
        return "-"
    low, high = tally.interval()
    return f"{tally.share:.1%} ({100 * low:.0f}-{100 * high:.0f})"


def markdown(name: str, tasks: Sequence[str], runs: Sequence[Scored]) -> str:
    """The tables in markdown: every run's settings, n and interval; published rows marked."""
    head = ["run", "method", "n", *tasks, "overall", "failed", "left out", "not made"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for r in runs:
        s, cells = r.summary, [cell(r.summary.tasks[task]) for task in tasks]
        row = [r.name, r.run.settings.method, str(s.overall.total), *cells, f"**{cell(s.overall)}**"]
        lines.append(f"| {' | '.join([*row, str(len(s.failed)), str(len(s.left_out)), str(s.unmade)])} |")
    for row in published(name):
        shares = [f"{v:g} %" for v in row.scores]
        count = str(100 * len(row.scores))
        lines.append(f"| *published* | *{row.method}* | {count} | {' | '.join(shares)} | {row.overall:g} % | | | |")
    first = runs[0]
    lines.append("")
    lines.append(
        f"{name}: share of prompts whose predicate holds, with 95 % Wilson intervals; "
        f"model {first.run.settings.model}, planner {first.run.settings.planner}, "
        f"seed {first.run.settings.seed}, detector {first.scoring.detector}, "
        f"rules {first.scoring.rules}. Failures count as wrong; what is left out or not made is not in n."
    )
    if published(name):
        lines.append(f"Published rows: {SOURCES[name]}; another model and detector, for orientation.")
    measured = list(dict.fromkeys(m for r in runs for m in r.summary.means))
    if measured:
        lines += ["", f"| run | {' | '.join(measured)} |", "|---|" + "---|" * len(measured)]
        for r in runs:
            means = (f"{r.summary.means[m][0]:.3f}" if m in r.summary.means else "-" for m in measured)
            lines.append(f"| {r.name} | {' | '.join(means)} |")
    return "\n".join(lines) + "\n"


def examples(scored: Scored, shown: int) -> dict[str, dict[bool, list[Example]]]:
    """Of each task the first passes and failures."""
    jobs = {job.number: job for job in scored.run.jobs()}
    made: dict[str, dict[bool, list[Example]]] = {}
    for verdict in scored.verdicts:
        kinds = made.setdefault(verdict.task, {True: [], False: []})
        if verdict.held is not None and len(kinds[verdict.held]) < shown:
            kinds[verdict.held].append(_example(scored.run, jobs[verdict.number], verdict))
    return made


def _example(run: Run, job: Job, verdict: Verdict) -> Example:
    picture = ""
    if verdict.seen is not None:
        try:
            picture = strip(run.video(job).frames[list(verdict.looked)], verdict.seen)
        except AnimaticError as error:
            return Example(job.prompt, str(error), "")
    return Example(job.prompt, verdict.reason or f"job {job.number}, seed {job.seed}", picture)


def strip(frames: np.ndarray, seen: Scene) -> str:
    """Frames in a row with the boxes of `seen`, as a data URI."""
    scale = max(1, round(TALL / frames.shape[1]))
    drawn = draw_boxes(Video(frames), seen, scale).frames
    row = Image.fromarray(np.concatenate(list(drawn), 1))
    if row.height > 2 * TALL:
        row = row.resize((row.width * TALL // row.height, TALL))
    buffer = io.BytesIO()
    row.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
