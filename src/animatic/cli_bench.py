"""Commands that measure: plans and kept replies (stage 1); what is generated (stage 2) is in cli_runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from . import cli_plan, cli_runs
from .benchmarks.cases import RULES, Layout, Rules, Score, judge
from .benchmarks.known import BENCHMARKS, benchmark_named
from .console import bar
from .errors import AnimaticError
from .planning.cache import read_replies
from .planning.planners import plan_all, planner_named
from .planning.replies import read

app = typer.Typer(help="Measure plans and videos: LMD's 400 prompts, LVD's 500, 60 of our own.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help=f"{', '.join(BENCHMARKS)}, or a Python file that sets BENCHMARK.")]
Strict = Annotated[str, typer.Option("--rules", help=f"How strictly to judge: {', '.join(RULES)}.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]


@app.command()
def score(
    name: Annotated[str, typer.Argument(help="The folder of a run; with --replies, a benchmark.")],
    replies: Annotated[Path | None, typer.Option(help="Replies by prompt (JSON), as LMD and LVD keep them.")] = None,
    rules: Strict = "published",
    detector: cli_runs.Detector = "",
    metrics: cli_runs.Metrics = "plan",
    clip: cli_runs.ClipWeights = "",
    real: cli_runs.Real = "",
    features: cli_runs.Features = "",
    workers: cli_runs.Workers = None,
    as_json: AsJson = False,
) -> None:
    """Score what a run made, or kept replies. What failed, or cannot be read, is wrong."""
    if replies is None:
        cli_runs.score(name, rules, detector, metrics, clip, real, features, workers, as_json)
        return
    cases = benchmark_named(name).cases()
    kept = {prompt.strip().rstrip("."): iter(texts) for prompt, texts in read_replies(replies).items()}
    layouts: list[Layout | None] = [None] * len(cases)
    reasons: dict[int, str] = {}
    for i, case in enumerate(cases):
        text = next(kept.get(case.prompt.rstrip("."), iter(())), None)
        try:
            if text is None:
                raise AnimaticError(f"no reply to {case.prompt!r}")
            layouts[i] = read(text, legacy=name == "lmd")
        except AnimaticError as error:
            reasons[i] = str(error)
    _report(name, judge(cases, layouts, _rules(rules)), {"replies": str(replies), "rules": rules}, reasons, as_json)


@app.command()
def plan(
    name: Name,
    planner: cli_plan.Planner = "rules",
    rules: Strict = "published",
    limit: Annotated[int | None, typer.Option(help="Only the first prompts.")] = None,
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
    """Plan every prompt with a planner and score the scenes."""
    benchmark = benchmark_named(name)
    if benchmark.kind == "story":
        raise AnimaticError(f"benchmark {name!r} has no predicates on plans; measure what is generated from them")
    cases = benchmark.cases()[:limit]
    made = cli_plan.options(
        benchmark.kind, 2.0, template, cache, base_url, form, temperature, timeout, rate, legacy=name == "lmd"
    )
    chosen = planner_named(planner, made)
    layouts: list[Layout | None] = [None] * len(cases)
    reasons: dict[int, str] = {}
    with bar("planning", as_json) as tick:
        for done, (i, result) in enumerate(plan_all(chosen, [case.prompt for case in cases], workers), 1):
            if isinstance(result, AnimaticError):
                reasons[i] = str(result)
            else:
                layouts[i] = result.scene
            tick(done, len(cases))
    _report(name, judge(cases, layouts, _rules(rules)), {"planner": planner, "rules": rules}, reasons, as_json)


def _rules(name: str) -> Rules:
    if name not in RULES:
        raise AnimaticError(f"unknown rules {name!r}; known: {', '.join(RULES)}")
    return RULES[name]


def _report(name: str, score: Score, settings: dict[str, str], reasons: dict[int, str], as_json: bool) -> None:
    if as_json:
        counts = {**asdict(score), "overall": asdict(score.overall)}
        print(json.dumps({"benchmark": name, **settings, **counts, "unread": reasons}))
        return
    cli_runs.tell_tallies(f"{name}: {', '.join(settings.values())}", {**score.tasks, "overall": score.overall})
    cli_runs.tell_reasons("", reasons.values())


cli_runs.add_to(app)
