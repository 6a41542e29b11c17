"""Planners that ask: what they share. A chat goes out, a reply comes back, is read, and on failure asked for again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..errors import AnimaticError
from ..scene import Scene, Story
from . import replies
from .cache import Cache, Entry, Key
from .template import Form, Template

Message = dict[str, str]


@dataclass(frozen=True)
class ModelReply:
    """A reply and what it cost, in tokens."""

    text: str
    usage: dict[str, int] = field(default_factory=dict)


class LanguageModel(Protocol):
    """A language model: `name` says what is asked, `settings` how, both for the cache."""

    @property
    def planner(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> str: ...

    def __call__(self, chat: Sequence[Message], schema: dict[str, Any] | None) -> ModelReply: ...


@dataclass(frozen=True)
class PlanResult:
    """A plan with its origin: the reply it was read from, what was changed in reading, what it cost."""

    story: Story
    reply: str = ""
    warnings: tuple[str, ...] = ()
    usage: dict[str, int] = field(default_factory=dict)
    cached: bool = False

    @property
    def scene(self) -> Scene:
        return self.story[0]


@dataclass
class LanguageModelPlanner:
    """A planner over a language model. `attempts`: how often an unreadable reply is asked for again, in all.

    `legacy`: stills get LMD's box filter. `corrected`: the model is told what was wrong with a reply; one that only
    continues a text is asked the same again. Without a cache nothing is kept.
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
        """Plan a prompt, from the cache where it was asked before. Raises `AnimaticError` when attempts are used up."""
        if not prompt.strip():
            raise AnimaticError("the prompt is empty; want a sentence")
        key = self.key(prompt, sample)
        known = self.cache.get(key) if self.cache else None
        if known is not None:
            return PlanResult(known.story, known.reply, known.warnings, known.usage, cached=True)
        planned = self._ask(prompt)
        if self.cache:
            scenes = tuple(json.loads(scene.to_json()) for scene in planned.story)
            self.cache.put(Entry(key, planned.reply, scenes, usage=planned.usage, warnings=planned.warnings))
        return planned

    def _ask(self, prompt: str) -> PlanResult:
        chat = self.template.messages(prompt, self.form)
        schema = self.template.schema() if self.form == "json" and not self.template.verbatim else None
        spent: dict[str, int] = {}
        for attempt in range(1, self.attempts + 1):
            said = self.model(chat, schema)
            spent = {k: spent.get(k, 0) + said.usage.get(k, 0) for k in spent | said.usage}
            try:
                return replace(self.read(prompt, said.text), usage=spent)
            except AnimaticError as error:
                if self.attempts == 1:
                    raise
                if attempt == self.attempts:
                    raise AnimaticError(
                        f"{self.model.name}: {attempt} replies could not be read; the last: {error}"
                    ) from None
                if not self.corrected:
                    continue
                told = f"That could not be read: {error}. Answer once more, complete, in the form that was asked for."
                chat = [*chat, {"role": "assistant", "content": said.text}, {"role": "user", "content": told}]
        raise AnimaticError(f"attempts is {self.attempts}; want at least 1")

    def read(self, prompt: str, text: str) -> PlanResult:
        """A reply as a plan. Raises `AnimaticError` where it has no box and wants nothing away."""
        if self.template.kind == "story":
            told = replies.read_story(text)
        else:
            told = [(prompt, replies.read(text, self.legacy))]
        seconds = 0.0 if self.template.kind == "image" else self.seconds
        read = [(reply, *reply.scene(said, seconds)) for said, reply in told]
        for reply, scene, _ in read:
            if not scene.tracks and not scene.negative and (reply.tracks or not reply.background):
                raise AnimaticError("reply: no box in the frame; want at least one")
            if len(scene.tracks) > replies.MAX_TRACKS:
                raise AnimaticError(f"reply: {len(scene.tracks)} tracks; want at most {replies.MAX_TRACKS}")
        warnings = tuple(change for _, _, changes in read for change in changes)
        return PlanResult(tuple(scene for _, scene, _ in read), text, warnings)
