"""Commands that measure: plans and kept replies (stage 1), and what a run made (stage 2; see cli_runs)."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..benchmarks.cases import RULES, BenchmarkResult, Layout, Tally, judge, rules_named
from ..benchmarks.plan_scores import (
    PlanScore,
    PlanScores,
    kept_scores,
    measure,
    options_of_each,
    with_score,
    write_plan_report,
)
from ..benchmarks.registry import BENCHMARKS, benchmark_named
from ..errors import AnimaticError
from ..planning.cache import read_replies
from ..planning.planners import PlannerOptions
from ..planning.replies import read
from . import plan as cli_plan
from .console import bar, printable, table
from .options import AsJson

Name = Annotated[str, typer.Argument(help=f"{', '.join(BENCHMARKS)}, NAME:TASK, or a Python file that sets BENCHMARK.")]
Strict = Annotated[str, typer.Option("--rules", help=f"How strictly to judge: {', '.join(RULES)}.")]


def score(
    name: Annotated[str, typer.Argument(help="The folder of a run; with --replies, a benchmark.")],
    replies: Annotated[Path | None, typer.Option(help="Replies by prompt (JSON), as LMD and LVD keep them.")] = None,
    rules: Strict = "published",
    detector: Annotated[
        str,
        typer.Option(
            help="toy, owlvit, owlv2 or grounding-dino, or one with :WEIGHTS; toy for mini, else owlvit, if not given."
        ),
    ] = "",
    metrics: Annotated[str, typer.Option(help="Of each video, with commas: plan, motion, clip.")] = "plan",
    clip: Annotated[str, typer.Option("--clip", help="CLIP weights, a folder or hub id; ViT-B/32 if not given.")] = "",
    real: Annotated[
        str, typer.Option("--fvd", help="Folder of real videos, to tell the Fréchet video distance from.")
    ] = "",
    features: Annotated[
        str,
        typer.Option(
            "--fvd-features",
            help="I3D (TorchScript .pt, which is code) or VideoMAE (folder or hub id) for --fvd.",
        ),
    ] = "",
    threshold: Annotated[
        float | None, typer.Option(help="Least score of a box, 0 to 1; as published if not given.")
    ] = None,
    nms: Annotated[
        float | None, typer.Option(help="Overlap (IoU) from which the weaker of two boxes falls; as published.")
    ] = None,
    class_aware: Annotated[
        bool | None, typer.Option(help="Only boxes of one name compete; so if not given, as published.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames of a video that are looked at, evenly spread; as published.")
    ] = None,
    benchmark: Annotated[
        str, typer.Option(help="The Python file of a run of your own benchmark; a run's folder alone runs none.")
    ] = "",
    workers: Annotated[
        int | None, typer.Option(help="Processes; a core each for the toy detector if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score what a run made, or kept replies. What failed, or cannot be read, is wrong."""
    if replies is not None:
        of_videos = {
            "--detector": detector, "--clip": clip, "--fvd": real, "--fvd-features": features, "--workers": workers,
            "--metrics": metrics != "plan", "--threshold": threshold is not None, "--nms": nms is not None,
            "--class-aware": class_aware is not None, "--frames": frames is not None, "--benchmark": benchmark,
        }  # fmt: skip
        # without effect is worse than refused: a score would be taken for another one
        if unused := [option for option, value in of_videos.items() if value]:
            raise AnimaticError(f"{unused[0]} is of the videos of a run, and --replies are scored; want one of both")
        _score_replies(name, replies, rules, as_json)
        return
    if not os.path.isdir(name):
        benchmark_named(name)
        if name in BENCHMARKS:
            raise AnimaticError(f"{name} is a benchmark; want --replies FILE, or the folder of a run")
        raise AnimaticError(f"{name}: no such run")
    from ..backbones import PRESETS
    from ..benchmarks import scoring
    from ..benchmarks.results import summarise
    from ..benchmarks.run_store import Run

    # checked before the first video is read: scoring may take hours
    run = Run(name)
    settings = run.settings
    preset = PRESETS.get(settings.model)
    detector = detector or ("toy" if preset and preset.family == "mini" else "owlvit")
    measured = tuple(m for m in metrics.split(",") if m)
    how = scoring.ScoringSettings(detector, rules, measured, clip, threshold, nms, class_aware, frames, benchmark)
    if clip and "clip" not in how.metrics:
        raise AnimaticError(f"clip is {clip!r}, but CLIP is not among the metrics ({metrics}); want --metrics clip")
    if features and not real:
        raise AnimaticError(f"fvd-features is {features!r} without --fvd; want a folder of real videos")
    if workers is not None and workers < 1:
        raise AnimaticError(f"workers is {workers}; want at least 1")

    # the toy detector works on one core; a network takes all of them by itself
    if workers is None:
        workers = (os.cpu_count() or 1) if detector == "toy" else 1
    distance = None
    if real:
        from ..benchmarks.fvd import FrechetVideoDistance

        distance = FrechetVideoDistance(features)

    with bar("scoring", as_json) as tick:
        verdicts = scoring.score(name, how, workers, tick)
    made = summarise(verdicts)
    values = {metric: {"mean": mean, "n": n} for metric, (mean, n) in made.means.items()}
    if distance is not None:
        values["fvd"] = distance.of_run(run, real)

    # what is printed, as JSON or as tables
    settings_shown = {"benchmark": settings.benchmark, "model": settings.model, "method": settings.method_shown}
    settings_shown |= {"seed": str(settings.seed), "detector": detector, "rules": rules}
    tallies = {**made.tasks, "overall": made.overall}
    if as_json:
        counts = {"tasks": {task: asdict(tally) for task, tally in tallies.items()}, "metrics": values}
        rest = {"failed": len(made.failed), "left_out": len(made.left_out), "unmade": made.unmade}
        print(json.dumps({**settings_shown, **counts, **rest}))
        return
    _print_tallies(", ".join(settings_shown.values()), tallies)
    if values:
        rows = [(metric, f"{value['mean']:.4f}", value["n"]) for metric, value in values.items()]
        table(("metric", "mean", "n"), rows)
    _print_reasons("failed, counted as wrong: ", made.failed.values())
    _print_reasons("left out, not counted: ", made.left_out.values())
    if made.unmade:
        print(f"{made.unmade} of {len(verdicts)} jobs are not made yet, and not counted")


def _score_replies(name: str, replies: Path, rules: str, as_json: bool) -> None:
    benchmark = benchmark_named(name)
    cases = benchmark.cases()
    judge_by = rules_named(rules)

    # a prompt that stands twice in a benchmark takes its replies in turn; files differ in the last full stop
    kept = {prompt.strip().rstrip("."): iter(texts) for prompt, texts in read_replies(replies).items()}
    layouts: list[Layout | None] = [None] * len(cases)
    reasons: dict[int, str] = {}
    for i, case in enumerate(cases):
        texts = kept.get(case.prompt.rstrip("."), iter(()))
        text = next(texts, None)
        try:
            if text is None:
                raise AnimaticError(f"no reply to {case.prompt!r}")
            layouts[i] = read(text, legacy=benchmark.name == "lmd")
        except AnimaticError as error:
            reasons[i] = str(error)

    settings_shown = {"replies": str(replies), "rules": rules}
    result = judge(cases, layouts, judge_by)
    _report(name, result, settings_shown, reasons, as_json)

    # stdout may be JSON
    others = kept.keys() - {case.prompt.rstrip(".") for case in cases}
    if others:
        print(f"{len(others)} prompts of {replies} are none of {name}; not counted", file=sys.stderr)


def plan(
    name: Name,
    planner: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {cli_plan.KNOWN}; may be repeated, to compare. rules if not given."),
    ] = None,
    rules: Strict = "published",
    limit: Annotated[int | None, typer.Option(help="Only the first prompts.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A page of the scores, .html; .md and .json go with it. The same page again adds."),
    ] = None,
    base_url: cli_plan.BaseUrl = "",
    template: cli_plan.Template = "",
    form: cli_plan.Form = "json",
    cache: cli_plan.CacheFile = "",
    temperature: cli_plan.Temperature = 0.25,
    timeout: cli_plan.Timeout = 120.0,
    rate: cli_plan.RateLimit = 0.0,
    workers: cli_plan.Workers = 4,
    as_json: AsJson = False,
) -> None:
    """Plan every prompt with one planner or several, and score the scenes."""
    benchmark = benchmark_named(name)
    if benchmark.kind == "story":
        raise AnimaticError(f"benchmark {name!r} has no predicates on plans; measure what is generated from them")
    if limit is not None and limit < 1:
        raise AnimaticError(f"limit is {limit}; want at least 1")
    rules_named(rules)
    options = PlannerOptions(
        benchmark.kind, 2.0, template, cli_plan.kept(cache), base_url, form, temperature, timeout, rate,
        legacy=benchmark.name == "lmd",
    )  # fmt: skip
    names = list(dict.fromkeys(planner or ["rules"]))

    # a page is written after each planner: what was measured stays
    scores: list[PlanScore] = []
    found = PlanScores(name, rules, limit, [])
    if out is not None:
        found = kept_scores(out, found)
    files: list[Path] = []
    for each, own in zip(names, options_of_each(names, options), strict=True):
        with bar(f"planning with {each}", as_json) as tick:
            scores.append(measure(each, own, benchmark, limit, rules, workers, tick))
        if out is not None:
            found = with_score(found, scores[-1])
            files = write_plan_report(found, out)

    if as_json:
        every = [{**asdict(score), "overall": asdict(score.overall)} for score in scores]
        shown: dict[str, object] = {"benchmark": name, "rules": rules}
        # one planner alone has its scores at the top level: no list of one
        if len(every) == 1:
            shown |= every[0]
        else:
            shown |= {"limit": limit, "scores": every}
        print(json.dumps(shown))
        return
    for score in scores:
        _print_tallies(f"{name}: {score.planner}, {rules}", {**score.tasks, "overall": score.overall})
        _print_reasons("", score.unread.values())
    for file in files:
        print(file)


def _report(
    name: str, score: BenchmarkResult, settings: dict[str, str], reasons: dict[int, str], as_json: bool
) -> None:
    if as_json:
        counts = {**asdict(score), "overall": asdict(score.overall)}
        print(json.dumps({"benchmark": name, **settings, **counts, "unread": reasons}))
        return
    _print_tallies(f"{name}: {', '.join(settings.values())}", {**score.tasks, "overall": score.overall})
    _print_reasons("", reasons.values())


def _print_tallies(title: str, tallies: Mapping[str, Tally]) -> None:
    """A table of what was right, task by task."""
    rows = []
    for task, tally in tallies.items():
        low, high = tally.interval()
        counts = f"{tally.correct}/{tally.total}"
        interval = f"{low:.1%} - {high:.1%}"
        rows.append((task, counts, f"{tally.accuracy:.1%}", interval))
    table((title, "correct", "share", "95 % (Wilson)"), rows)


def _print_reasons(label: str, reasons: Iterable[str]) -> None:
    """Each reason once, with how often it was given."""
    for reason, count in Counter(reasons).items():
        print(printable(f"{label}{count} x {reason}"))
