"""Planners by name, and many prompts at once."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

from ..errors import AnimaticError
from ..files import read_text
from ..prompting.english import article
from ..scene import Scene
from . import replies, rules
from .cache import Cache, Entry, Key, read_replies
from .chat import Completions, Paste, RateLimiter, Server
from .language_model import LanguageModel, LanguageModelPlanner, PlanResult
from .local import LocalModel
from .stories import lines_of, plan_story
from .template import Form, load_template

KNOWN = "rules, as-typed, openai:MODEL, completions:MODEL, local:PATH_OR_ID, paste, cached:MODEL"
OPTIONS_OF_PLANNER = {  # of `Options`, beside kind, seconds, cache and legacy
    "rules": (),
    "as-typed": (),
    "cached": (),
    "openai": ("template", "base_url", "form", "temperature", "timeout", "rate"),
    "completions": ("template", "base_url", "form", "temperature", "timeout", "rate"),
    "local": ("template", "form", "temperature"),
    "paste": ("template", "form", "reply"),
}


class Planner(Protocol):
    """`sample` counts repeated prompts from 0: each gets a reply of its own. Raises `AnimaticError`."""

    def plan(self, prompt: str, sample: int = 0) -> PlanResult: ...


@dataclass(frozen=True)
class RulePlanner:
    """The offline planner; the same prompt is always the same scene."""

    kind: str = "video"
    seconds: float = 2.0

    def plan(self, prompt: str, sample: int = 0) -> PlanResult:
        if self.kind == "story":
            return PlanResult(plan_story(prompt, self.seconds))
        if self.kind == "video":
            return PlanResult((rules.plan(prompt, seconds=self.seconds),))
        scene = rules.plan(prompt, seconds=0.0)
        named = tuple(replace(track, phrase=article(track.phrase)) for track in scene.tracks)  # as LMD names things
        return PlanResult((replace(scene, tracks=named),))


@dataclass(frozen=True)
class AsTypedPlanner:
    """No planner: the words reach the model as they stand, and nothing is placed. A story has a scene a line."""

    kind: str = "video"
    seconds: float = 2.0

    def plan(self, prompt: str, sample: int = 0) -> PlanResult:
        lines = lines_of(prompt) if self.kind == "story" else [prompt.strip()]
        if not any(lines):
            raise AnimaticError("the prompt is empty; want a sentence")
        seconds = 0.0 if self.kind == "image" else self.seconds
        return PlanResult(tuple(Scene(line, seconds=seconds) for line in lines))


@dataclass(frozen=True)
class ImportedReplies:
    """Imported replies of a model: nothing is asked. `seconds` is how long a scene lasts whose reply does not say."""

    name: str
    cache: Cache
    seconds: float = 2.0

    def plan(self, prompt: str, sample: int = 0) -> PlanResult:
        entry = self.cache.get(_imported(prompt, self.name, sample))
        if entry is None:
            raise AnimaticError(f"no reply of {self.name!r} to {prompt[:60]!r} (sample {sample}) is kept; import some")
        if not entry.scenes:
            raise AnimaticError(entry.error)
        untimed = replies.read(entry.reply).seconds is None
        story = tuple(replace(scene, seconds=self.seconds) if untimed else scene for scene in entry.story)
        return PlanResult(story, entry.reply, entry.warnings, cached=True)


def _imported(prompt: str, name: str, sample: int) -> Key:
    return Key(prompt.strip().rstrip("."), "imported", name, "", "", sample)


def import_replies(path: str, name: str, cache: Cache, filter: bool = True) -> tuple[int, int]:
    """Take over a cache file of LMD or LVD; returns how many replies were read, and how many could not be.

    `filter`: boxes of stills are dropped and scaled by LMD's rules before they are kept (`boxes.legacy_filter`).
    """
    good = bad = 0
    for prompt, texts in read_replies(path).items():
        for sample, text in enumerate(texts):
            key = _imported(prompt, name, sample)
            if cache.get(key):
                continue
            try:
                scene, warnings = replies.read(text, filter).scene(prompt)
                cache.put(Entry(key, text, (json.loads(scene.to_json()),), warnings=warnings))
                good += 1
            except AnimaticError as error:
                cache.put(Entry(key, text, error=str(error)))
                bad += 1
    return good, bad


@dataclass(frozen=True)
class PlannerOptions:
    """How to ask. `paths` "" are the bundled template and no cache; `rate` in calls a minute, 0 without limit."""

    kind: str = "video"
    seconds: float = 2.0
    template: str = ""
    cache: str = ""
    base_url: str = ""
    form: str = "json"
    temperature: float = 0.25
    timeout: float = 120.0
    rate: float = 0.0
    reply: str = ""  # file of a pasted reply; "" reads standard input
    legacy: bool = False


def planner_named(name: str, options: PlannerOptions | None = None) -> Planner:
    """A planner by name: see KNOWN. Raises `AnimaticError` where it is unknown, or is told what it has no use for."""
    o = options or PlannerOptions()
    check_used(name, o)
    if o.form not in ("json", "text"):
        raise AnimaticError(f"unknown form {o.form!r}; known: json, text")
    model: LanguageModel
    match name.split(":", 1):
        case ["rules"]:
            return RulePlanner(o.kind, o.seconds)
        case ["as-typed"]:
            return AsTypedPlanner(o.kind, o.seconds)
        case ["cached", what] if what:
            return ImportedReplies(what, Cache(o.cache), o.seconds)
        case ["openai", what] if what:
            model = Server(what, o.base_url, o.temperature, timeout=o.timeout, rate=RateLimiter(o.rate))
        case ["completions", what] if what:
            model = Completions(what, o.base_url, o.temperature, timeout=o.timeout, rate=RateLimiter(o.rate))
        case ["local", what] if what:
            model = LocalModel(what, o.temperature)
        case ["paste"]:
            return _pasted(o, o.form)
        case _:
            raise AnimaticError(f"unknown planner {name!r}; known: {KNOWN}")
    cache = Cache(o.cache) if o.cache else None
    told = load_template(o.kind, o.template)
    return LanguageModelPlanner(
        model, told, o.form, cache, seconds=o.seconds, legacy=o.legacy or told.verbatim,
        corrected=not isinstance(model, Completions),
    )  # fmt: skip


def check_used(name: str, options: PlannerOptions) -> None:
    """Raise where an option is given that the planner of this name takes no notice of."""
    kind = name.partition(":")[0]
    for field in fields(PlannerOptions):
        users = [planner for planner, taken in OPTIONS_OF_PLANNER.items() if field.name in taken]
        if kind in OPTIONS_OF_PLANNER and users and kind not in users and getattr(options, field.name) != field.default:
            given = f"{field.name.replace('_', '-')} is given, but planner {kind!r} takes none"
            raise AnimaticError(f"{given}; want planner {' or '.join(users)}")


def _pasted(o: PlannerOptions, form: Form) -> LanguageModelPlanner:
    """A person's reply: of a file or a pipe there is one reading, at a terminal one may try again."""
    model = Paste(partial(read_text, o.reply) if o.reply else lambda: sys.stdin.read())
    attempts = 3 if not o.reply and sys.stdin.isatty() else 1
    cache = Cache(o.cache) if o.cache else None
    told = load_template(o.kind, o.template)
    return LanguageModelPlanner(model, told, form, cache, attempts, o.seconds, o.legacy or told.verbatim)


def plan(prompt: str, planner: str = "rules", options: PlannerOptions | None = None) -> Scene:
    """Plan one prompt. Raises `AnimaticError` where it cannot be planned."""
    if not isinstance(prompt, str):
        raise AnimaticError(f"prompt is {repr(prompt)[:60]}; want a sentence")
    return planner_named(planner, options).plan(prompt).scene


def plan_all(
    planner: Planner, prompts: Sequence[str], workers: int = 1, skip: Collection[int] = ()
) -> Iterator[tuple[int, PlanResult | AnimaticError]]:
    """Plan many prompts, `workers` at a time, as they are done: (index, plan or what went wrong).

    The n-th time a prompt comes it takes its n-th reply; indices in `skip` are counted and left out. With a cache, what
    was done before is not asked again.
    """
    if workers < 1:
        raise AnimaticError(f"workers is {workers}; want at least 1")
    times = defaultdict(count)
    samples = [next(times[prompt]) for prompt in prompts]

    def one(i: int) -> PlanResult | AnimaticError:
        try:
            return planner.plan(prompts[i], samples[i])
        except AnimaticError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        asked = {pool.submit(one, i): i for i in range(len(prompts)) if i not in skip}
        try:
            yield from ((asked[done], done.result()) for done in as_completed(asked))
        finally:
            pool.shutdown(cancel_futures=True)


def default_cache() -> str:
    """Where replies are kept unless told otherwise."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(home) / "animatic" / "replies.jsonl")
