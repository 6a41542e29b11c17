"""Planners over a language model: a chat is sent, the reply parsed, and requested again where it cannot be read.

The prompting follows LMD (arXiv 2305.13655) and LVD (arXiv 2309.17444).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..errors import AnimaticError
from ..scene import Scene, Story
from .account import Account
from .cache import Cache, Entry, Key
from .reply import MAX_TRACKS
from .template import Form, Template

Message = dict[str, str]


@dataclass(frozen=True)
class ModelReply:
    """A reply, and its numbers of tokens."""

    text: str
    usage: dict[str, int] = field(default_factory=dict)


class LanguageModel(Protocol):
    """A language model. `planner`, `name` and `settings` identify it in the cache."""

    @property
    def planner(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> str: ...

    def __call__(self, chat: Sequence[Message], schema: dict[str, Any] | None) -> ModelReply: ...


@dataclass(frozen=True)
class PlanResult:
    """A plan with its origin: the reply, what was changed in reading it, its numbers of tokens, and, of the offline
    planner, what became of each word of the prompt (one account a scene)."""

    story: Story
    reply: str = ""
    warnings: tuple[str, ...] = ()
    usage: dict[str, int] = field(default_factory=dict)
    cached: bool = False
    accounts: tuple[Account, ...] = ()

    @property
    def scene(self) -> Scene:
        return self.story[0]


@dataclass
class LanguageModelPlanner:
    """A planner over a language model.

    `attempts`: how many replies are requested at most. `seconds`: duration of a scene whose reply gives none. `legacy`:
    still images get LMD's box filter. `corrected`: a further request quotes the error; a base model, which continues a
    text, gets the same request again. Without a cache nothing is kept.
    """

    model: LanguageModel
    template: Template
    form: Form = "json"
    cache: Cache | None = None
    attempts: int = 3
    seconds: float = 2.0
    legacy: bool = False
    corrected: bool = True

    def key(self, prompt: str, sample: int) -> Key:
        settings = f"{self.model.settings} {self.form}"
        return Key(prompt, self.model.planner, self.model.name, self.template.digest, settings, sample)

    def plan(self, prompt: str, sample: int = 0) -> PlanResult:
        """Plan a prompt, from the cache where there is an entry. Raises `AnimaticError` after the last attempt."""
        if not prompt.strip():
            raise AnimaticError("the prompt is empty; want a sentence")

        # a reply that is kept costs nothing, and a run that goes on gets the same plans
        key = self.key(prompt, sample)
        entry = self.cache.get(key) if self.cache else None
        if entry is not None:
            return PlanResult(entry.story, entry.reply, entry.warnings, entry.usage, cached=True)

        planned = self._request_plan(prompt)
        if self.cache:
            scenes = tuple(json.loads(scene.to_json()) for scene in planned.story)
            self.cache.put(Entry(key, planned.reply, scenes, usage=planned.usage, warnings=planned.warnings))
        return planned

    def _request_plan(self, prompt: str) -> PlanResult:
        chat = self.template.messages(prompt, self.form)
        schema = self.template.schema() if self.form == "json" and not self.template.verbatim else None
        usage: dict[str, int] = {}
        for attempt in range(1, self.attempts + 1):
            reply = self.model(chat, schema)
            usage = {name: usage.get(name, 0) + reply.usage.get(name, 0) for name in usage | reply.usage}
            try:
                return replace(self.read(prompt, reply.text), usage=usage)
            except AnimaticError as error:
                if self.attempts == 1:
                    raise
                if attempt == self.attempts:
                    raise AnimaticError(
                        f"{self.model.name}: {attempt} replies could not be read; the last: {error}"
                    ) from None
                if not self.corrected:
                    continue

                # the next request has the reply and what was wrong with it
                correction = (
                    f"That could not be read: {error}. Answer once more, complete, in the form that was asked for."
                )
                chat = [
                    *chat,
                    {"role": "assistant", "content": reply.text},
                    {"role": "user", "content": correction},
                ]
        raise AnimaticError(f"attempts is {self.attempts}; want at least 1")

    def read(self, prompt: str, text: str) -> PlanResult:
        """A reply as a plan. Raises `AnimaticError` where it has neither a box in the frame nor a negative prompt."""
        from . import replies  # here: the offline planner reads none

        if self.template.kind == "story":
            parts = replies.read_story(text)
        else:
            parts = [(prompt, replies.read(text, self.legacy))]
        seconds = 0.0 if self.template.kind == "image" else self.seconds

        scenes: list[Scene] = []
        warnings: list[str] = []
        for scene_prompt, reply in parts:
            scene, changes = reply.scene(scene_prompt, seconds)
            if not scene.tracks and not scene.negative and (reply.tracks or not reply.background):
                raise AnimaticError("reply: no box in the frame; want at least one")
            if len(scene.tracks) > MAX_TRACKS:
                raise AnimaticError(f"reply: {len(scene.tracks)} tracks; want at most {MAX_TRACKS}")
            scenes.append(scene)
            warnings += changes
        return PlanResult(tuple(scenes), text, tuple(warnings))
