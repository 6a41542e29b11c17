"""Scores of planners on one benchmark, and the page that shows them next to each other."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..errors import AnimaticError
from ..files import read_json, write_atomically
from ..planning.planners import OPTIONS_OF_PLANNER, PlannerOptions, check_used, plan_all, planner_named
from .cases import Benchmark, Layout, Tally, judge, rules_named


@dataclass(frozen=True)
class PlanScore:
    """What a planner reached.

    `settings`: its options, as text. `seed`: of its sampling, "-" where it has none. `failures`: the cases whose
    predicate does not hold. `unread`: case -> why it was not planned, which counts as wrong. `seconds`: of a prompt, on
    average, replies from the cache included; `cached` is how many those were. `tokens`: of all replies, asked and
    answered.
    """

    planner: str
    settings: dict[str, str]
    seed: str
    n: int
    tasks: dict[str, Tally]
    failures: tuple[int, ...]
    unread: dict[int, str]
    seconds: float
    cached: int
    tokens: dict[str, int]

    @property
    def overall(self) -> Tally:
        return sum(self.tasks.values(), Tally())

    @property
    def reasons(self) -> dict[str, int]:
        """Why prompts were not planned, and how many each."""
        return dict(Counter(self.unread.values()))


@dataclass(frozen=True)
class PlanScores:
    """Scores on the first prompts (`limit`, None for all) of a benchmark, judged by the same rules."""

    benchmark: str
    rules: str
    limit: int | None
    scores: list[PlanScore]


def options_of_each(names: Sequence[str], options: PlannerOptions) -> list[PlannerOptions]:
    """The options for each planner: those that it does not use are left out.

    Raises `AnimaticError` where none of the planners uses one that is given.
    """
    # options that only some planners use; one of another package may use any
    others = {field for used in OPTIONS_OF_PLANNER.values() for field in used}
    left_out: list[set[str]] = []
    for name in names:
        kind = name.partition(":")[0]
        left_out.append(others - set(OPTIONS_OF_PLANNER.get(kind, others)))

    # what no planner uses is refused as for a single one
    defaults = {field.name: field.default for field in fields(PlannerOptions)}
    nobody = set.intersection(*left_out)
    check_used(names[0], replace(options, **{k: defaults[k] for k in set.union(*left_out) - nobody}))
    return [replace(options, **{k: defaults[k] for k in unused}) for unused in left_out]


def measure(
    name: str,
    options: PlannerOptions,
    benchmark: Benchmark,
    limit: int | None,
    rules: str,
    workers: int,
    tick: Callable[[int, int], None],
) -> PlanScore:
    """Plan the first prompts of a benchmark and judge the scenes. `tick` is given how many are done, of how many."""
    cases = benchmark.cases()[:limit]
    planner = planner_named(name, options)
    layouts: list[Layout | None] = [None] * len(cases)
    unread: dict[int, str] = {}
    tokens: Counter[str] = Counter()
    cached = 0

    # what cannot be planned counts as wrong, with its reason
    started = time.monotonic()
    for done, (i, result) in enumerate(plan_all(planner, [case.prompt for case in cases], workers), 1):
        if isinstance(result, AnimaticError):
            unread[i] = str(result)
        else:
            layouts[i] = result.scene
            tokens.update(result.usage)
            cached += result.cached
        tick(done, len(cases))
    seconds = (time.monotonic() - started) / len(cases)

    # the same predicates as for replies and videos
    judged = judge(cases, layouts, rules_named(rules))
    seed = str(getattr(getattr(planner, "model", None), "seed", "-"))
    settings = _settings(name, options)
    return PlanScore(
        name,
        settings,
        seed,
        len(cases),
        judged.tasks,
        judged.failures,
        dict(sorted(unread.items())),
        seconds,
        cached,
        dict(tokens),
    )


def _settings(name: str, options: PlannerOptions) -> dict[str, str]:
    """The options that decide a planner's replies, as text."""
    deciding = ("form", "temperature", "template", "base_url")
    used = OPTIONS_OF_PLANNER.get(name.partition(":")[0], ())
    values = {key: str(getattr(options, key)) for key in deciding if key in used}
    if "template" in values:
        values["template"] = values["template"] or "bundled"
    return {key.replace("_", "-"): value for key, value in values.items() if value}


def kept_scores(out: Path, wanted: PlanScores) -> PlanScores:
    """The scores that lie with a page (`out`, .html) already, or `wanted`, which has none.

    Raises `AnimaticError` where they are of another benchmark, other rules or other prompts.
    """
    if out.suffix != ".html":
        raise AnimaticError(f"{out}: want a name that ends in .html")
    file = out.with_suffix(".json")
    if not file.exists():
        return wanted
    kept = read_plan_scores(file)
    for name in ("benchmark", "rules", "limit"):
        old = getattr(kept, name)
        new = getattr(wanted, name)
        if old != new:
            raise AnimaticError(f"{file}: has scores of {name} {old}, not {new}; want another name for the page")
    return kept


def with_score(scores: PlanScores, score: PlanScore) -> PlanScores:
    """Scores and a new one, which replaces that of the same planner and settings."""
    own = (score.planner, score.settings)
    others = [other for other in scores.scores if (other.planner, other.settings) != own]
    return replace(scores, scores=[*others, score])


def write_plan_report(scores: PlanScores, out: Path) -> list[Path]:
    """Write a page (`out`, .html), its tables as markdown, and the scores as JSON next to it; returns the three."""
    from .report import SOURCES, cell, page_template, published

    values = {
        "benchmark": scores.benchmark,
        "rules": scores.rules,
        "limit": scores.limit,
        "scores": scores.scores,
        "tasks": list(dict.fromkeys(task for score in scores.scores for task in score.tasks)),
        "published": [] if scores.limit else published(scores.benchmark, stage=1),
        "source": SOURCES.get(scores.benchmark, ""),
        "cell": cell,
        "Tally": Tally,
    }

    # the scores first: a page can be written from them again
    kept = out.with_suffix(".json")
    write_atomically(kept, (json.dumps(asdict(scores), indent=1) + "\n").encode())
    pages = [out, out.with_suffix(".md")]
    for page in pages:
        write_atomically(page, page_template(f"plan_report{page.suffix}").render(values).encode())
    return [*pages, kept]


def read_plan_scores(file: Path) -> PlanScores:
    """Scores that were kept. Raises `AnimaticError` where the file holds none."""
    data: Any = read_json(file)
    try:
        return TypeAdapter(PlanScores).validate_python(data)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "the file"
        raise AnimaticError(f"{file}: holds no scores of planners ({place}); want another name for the page") from None
