"""Planners by name, and many prompts at once."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

from ..errors import AnimaticError
from ..files import read_text
from ..plugins import called, installed
from ..prompting.english import article
from ..scene import Scene
from . import rules
from .cache import Cache, Entry, Key, read_replies
from .language_model import LanguageModel, LanguageModelPlanner, PlanResult
from .local import LocalModel
from .stories import lines_of, plan_story_with_accounts
from .template import Form, load_template

GROUP = "animatic.planners"  # of entry points
KNOWN = "rules, as-typed, openai:MODEL, completions:MODEL, local:PATH_OR_ID, paste, cached:MODEL"
OPTIONS_OF_PLANNER = {  # fields of `PlannerOptions` that only some planners use
    "rules": (),
    "as-typed": (),
    "cached": (),
    "openai": ("template", "base_url", "form", "temperature", "timeout", "rate"),
    "completions": ("template", "base_url", "form", "temperature", "timeout", "rate"),
    "local": ("template", "form", "temperature"),
    "paste": ("template", "form", "reply"),
}


class Planner(Protocol):
    """What turns a prompt into scenes; any object with this method is a planner."""

    def plan(self, prompt: str, sample: int = 0) -> PlanResult:
        """Plan one prompt.

        Args:
            prompt: an English sentence, or the text of a story.
            sample: counts the repeats of a prompt from 0; a planner that samples returns a different plan for each.

        Returns:
            The scenes, boxes as fractions 0..1 of the frame, times in seconds, and what is known of their origin.

        Raises:
            AnimaticError: the prompt cannot be planned; one line that names the reason.
        """
        ...


@dataclass(frozen=True)
class RulePlanner:
    """The offline planner (`rules.plan`, `stories.plan_story`). It is deterministic."""

    kind: str = "video"
    seconds: float = 2.0

    def plan(self, prompt: str, sample: int = 0) -> PlanResult:
        if self.kind == "story":
            story, accounts = plan_story_with_accounts(prompt, self.seconds)
            warnings: list[str] = []
            for i, account in enumerate(accounts, 1):
                warnings += [f"scene {i}: {line}" for line in account.warnings()]
            return PlanResult(story, warnings=tuple(warnings), accounts=accounts)

        # an image is a scene that lasts 0 seconds
        seconds = self.seconds if self.kind == "video" else 0.0
        scene, account = rules.plan_with_account(prompt, seconds=seconds)
        if self.kind == "video":
            return PlanResult((scene,), warnings=account.warnings(), accounts=(account,))

        # LMD (arXiv 2305.13655) names objects with their article: "a red car"
        tracks = tuple(replace(track, phrase=article(track.phrase)) for track in scene.tracks)
        return PlanResult((replace(scene, tracks=tracks),), warnings=account.warnings(), accounts=(account,))


@dataclass(frozen=True)
class AsTypedPlanner:
    """No layout: a scene without tracks whose prompt is the text as typed. A story has one scene per line."""

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
    """Imported replies of a language model, without any request.

    `seconds` is the duration of a scene whose reply does not give one.
    """

    name: str
    cache: Cache
    seconds: float = 2.0

    def plan(self, prompt: str, sample: int = 0) -> PlanResult:
        entry = self.cache.get(_imported(prompt, self.name, sample))
        if entry is None:
            raise AnimaticError(
                f"no reply of {self.name!r} to {prompt[:60]!r} (sample {sample}) is in the cache; import replies first"
            )
        if not entry.scenes:
            raise AnimaticError(entry.error)
        from . import replies

        untimed = replies.read(entry.reply).seconds is None
        story = tuple(replace(scene, seconds=self.seconds) if untimed else scene for scene in entry.story)
        return PlanResult(story, entry.reply, entry.warnings, cached=True)


def _imported(prompt: str, name: str, sample: int) -> Key:
    return Key(prompt.strip().rstrip("."), "imported", name, "", "", sample)


def import_replies(path: str, name: str, cache: Cache, filter: bool = True) -> tuple[int, int]:
    """Import a cache file of LMD or LVD. Returns the number of replies that could be read, and that could not.

    `filter`: boxes of still images are filtered and scaled by LMD's rules first (`boxes.legacy_filter`).
    """
    from . import replies

    good = 0
    bad = 0
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
    """The settings of all planners; each uses those it needs (see OPTIONS_OF_PLANNER).

    `kind`: image, video or story. `seconds`: duration of a scene. `template`: file with the chat for a language model,
    "" the bundled one. `cache`: file of kept replies, "" none. `form`: json or text replies. `timeout`: seconds per
    reply, retries included. `rate`: requests per minute, 0 for no limit. `legacy`: still images get LMD's box filter.
    `progress`: given the number of characters of an answer as it comes, and 0 at its end.
    """

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
    progress: Callable[[int], None] | None = None


def planner_named(name: str, options: PlannerOptions | None = None) -> Planner:
    """A planner by name: one of KNOWN, or an installed package's entry point in the group `animatic.planners`.

    The entry point names a class or function that takes `PlannerOptions` and returns a `Planner`. Raises
    `AnimaticError` where the name is unknown, or an option is given that the planner does not use.
    """
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
        case ["openai" | "completions" as kind, what] if what:
            model = _server(kind, what, o)
        case ["local", what] if what:
            model = LocalModel(what, o.temperature)
        case ["paste"]:
            return _pasted(o, o.form)
        case _:
            others = installed(GROUP)
            if name in others:
                return called(GROUP, name, o)
            known = ", ".join([KNOWN, *others])
            raise AnimaticError(f"unknown planner {name!r}; known: {known}")

    # a planner over a language model: what is sent, what is kept, how often an unreadable reply is requested again
    cache = Cache(o.cache) if o.cache else None
    template = load_template(o.kind, o.template)
    return LanguageModelPlanner(
        model, template, o.form, cache, seconds=o.seconds, legacy=o.legacy or template.verbatim,
        corrected=not name.startswith("completions:"),  # a base model cannot follow a complaint
    )  # fmt: skip


def _server(kind: str, name: str, o: PlannerOptions) -> LanguageModel:
    """A model on a server: a chat model ("openai"), or a base model ("completions")."""
    from .chat import Completions, RateLimiter, Server  # here: the offline planner asks nobody

    model_class = Server if kind == "openai" else Completions
    return model_class(
        name, o.base_url, o.temperature, timeout=o.timeout, rate=RateLimiter(o.rate), progress=o.progress
    )


def check_used(name: str, options: PlannerOptions) -> None:
    """Raise `AnimaticError` where an option is set that the planner of this name does not use."""
    kind = name.partition(":")[0]
    for field in fields(PlannerOptions):
        users = [planner for planner, taken in OPTIONS_OF_PLANNER.items() if field.name in taken]
        if kind in OPTIONS_OF_PLANNER and users and kind not in users and getattr(options, field.name) != field.default:
            given = f"{field.name.replace('_', '-')} is given, but planner {kind!r} takes none"
            raise AnimaticError(f"{given}; want planner {' or '.join(users)}")


def _pasted(o: PlannerOptions, form: Form) -> LanguageModelPlanner:
    """A reply pasted by a person: read once from a file or a pipe, up to three times at a terminal."""
    from .chat import Paste

    model = Paste(partial(read_text, o.reply) if o.reply else lambda: sys.stdin.read())
    attempts = 3 if not o.reply and sys.stdin.isatty() else 1
    cache = Cache(o.cache) if o.cache else None
    template = load_template(o.kind, o.template)
    return LanguageModelPlanner(model, template, form, cache, attempts, o.seconds, o.legacy or template.verbatim)


def plan(prompt: str, planner: str | Planner = "rules", options: PlannerOptions | None = None) -> Scene:
    """Plan one prompt as a scene (of a story, the first one).

    `planner` is a name (see `planner_named`, which `options` are for) or a planner object. Raises `AnimaticError` where
    the prompt cannot be planned.
    """
    if not isinstance(prompt, str):
        raise AnimaticError(f"prompt is {repr(prompt)[:60]}; want a sentence")
    if isinstance(planner, str):
        planner = planner_named(planner, options)
    if not callable(getattr(planner, "plan", None)):
        raise AnimaticError(f"planner is {repr(planner)[:60]}; want a name, or an object with plan(prompt, sample)")
    return planner.plan(prompt).scene


def plan_all(
    planner: Planner, prompts: Sequence[str], workers: int = 1, skip: Collection[int] = ()
) -> Iterator[tuple[int, PlanResult | AnimaticError]]:
    """Plan many prompts with `workers` threads; yields (index, plan or error) as they finish.

    The n-th repeat of a prompt has `sample` n. Indices in `skip` are counted but not planned.
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
        futures = {pool.submit(one, i): i for i in range(len(prompts)) if i not in skip}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def default_cache() -> str:
    """The file that replies are kept in by default."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(home) / "animatic" / "replies.jsonl")
