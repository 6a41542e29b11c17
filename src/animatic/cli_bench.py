"""Commands that measure: the published benchmarks of LMD and LVD, stage 1 (plans)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from . import cli_plan
from .benchmarks import lmd, lvd, wild
from .benchmarks.cases import RULES, Case, Layout, Score, judge
from .console import bar, table
from .errors import AnimaticError
from .planning.cache import read_replies
from .planning.planners import plan_all, planner_named
from .planning.replies import Reply, read

app = typer.Typer(help="Measure plans: LMD's 400 prompts, LVD's 500, 60 of our own.", no_args_is_help=True)
BENCHMARKS = {"lmd": lmd.cases, "lvd": lvd.cases, "wild": wild.cases}

Name = Annotated[str, typer.Argument(help="lmd, lvd or wild.")]
Strict = Annotated[str, typer.Option("--rules", help=f"How strictly to judge: {', '.join(RULES)}.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]


@app.command()
def score(
    name: Name,
    replies: Annotated[Path, typer.Option(help="Replies by prompt (JSON), as LMD and LVD keep them.")],
    rules: Strict = "published",
    as_json: AsJson = False,
) -> None:
    """Score kept replies. Those that cannot be read fail."""
    cases = _cases(name)
    kept = {prompt.strip().rstrip("."): iter(texts) for prompt, texts in read_replies(replies).items()}
    layouts: list[Layout | None] = []
    reasons: dict[int, str] = {}
    for i, case in enumerate(cases):
        text = next(kept.get(case.prompt.rstrip("."), iter(())), None)
        try:
            layouts.append(_read(case, text, name))
        except AnimaticError as error:
            layouts.append(None)
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
    cases = _cases(name)[:limit]
    kind = "image" if name == "lmd" else "video"
    made = cli_plan.options(
        kind, 2.0, template, cache, base_url, form, temperature, timeout, rate, legacy=name == "lmd"
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


def _cases(name: str) -> list[Case]:
    if name not in BENCHMARKS:
        raise AnimaticError(f"unknown benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]()


def _rules(name: str) -> Any:
    if name not in RULES:
        raise AnimaticError(f"unknown rules {name!r}; known: {', '.join(RULES)}")
    return RULES[name]


def _read(case: Case, text: str | None, name: str) -> Reply:
    if text is None:
        raise AnimaticError(f"no reply to {case.prompt!r}")
    return read(text, legacy=name == "lmd")


def _report(name: str, score: Score, settings: dict[str, str], reasons: dict[int, str], as_json: bool) -> None:
    tallies = {**score.tasks, "overall": score.overall}
    if as_json:
        print(
            json.dumps(
                {
                    "benchmark": name,
                    **settings,
                    "tasks": {t: {"correct": v.correct, "total": v.total} for t, v in score.tasks.items()},
                    "overall": {"correct": score.overall.correct, "total": score.overall.total},
                    "failures": list(score.failures),
                    "unread": {str(i): reason for i, reason in reasons.items()},
                }
            )
        )
        return
    rows = []
    for task, tally in tallies.items():
        low, high = tally.interval()
        rows.append((task, f"{tally.correct}/{tally.total}", f"{tally.share:.1%}", f"{low:.1%} - {high:.1%}"))
    table((f"{name}: {', '.join(settings.values())}", "correct", "share", "95 % (Wilson)"), rows)
    for reason, count in Counter(reasons.values()).items():
        print(f"{count} x {reason}")
