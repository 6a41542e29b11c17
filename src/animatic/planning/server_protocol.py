"""The OpenAI protocol: how a scene is asked for, what a server refuses of that, and answers whole or streamed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import AnimaticError
from .language_model import Message, ModelReply

ANSWER_FORMS = ("a JSON schema", "tools", "neither")  # how a scene is asked for, tried in this order
_REFUSING = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|extra|not permitted|only the default"
)
_MENTIONS = {  # the words by which servers name what they refuse
    "a JSON schema": re.compile(r"response_format|json_schema|structured|guided|grammar|schema", re.IGNORECASE),
    "tools": re.compile(r"tool|function", re.IGNORECASE),
}
OPTIONAL = ("stream_options", "max_tokens", "temperature", "stream")  # left out where a server refuses them by name


@dataclass(frozen=True)
class AnswerLimits:
    """What an answer may take; a server that works stays far below.

    `size`: bytes of a body. A body drips where one line of it comes in more than `pieces`, over more than `stall`
    seconds, at less than `rate` bytes a second: events and keep-alive lines come whole.
    """

    size: int = 16 * 2**20
    stall: float = 20.0
    pieces: int = 10
    rate: float = 100.0


@dataclass
class ServerFeatures:
    """What a server takes, as its refusals have shown."""

    forms: list[str] = field(default_factory=lambda: list(ANSWER_FORMS))
    left_out: set[str] = field(default_factory=set)

    def give_up(self, words: str, body: dict[str, Any]) -> str:
        """Ask without what a refusal names. Returns what that is, for a note; "" where it names nothing of the body."""
        for name in OPTIONAL:
            if name in body and name in words and _REFUSING.search(words.lower()):
                self.left_out.add(name)
                return name

        # the next form in which a scene can be asked for
        form = form_of(body)
        if form != "neither" and _MENTIONS[form].search(words):
            if form in self.forms:
                self.forms.remove(form)
            return form
        return ""


@cache
def features_of(base_url: str, model: str) -> ServerFeatures:
    """What is known of a model on a server, kept for the process."""
    return ServerFeatures()


def form_of(body: dict[str, Any]) -> str:
    """The form, of ANSWER_FORMS, in which a request asks for a scene."""
    if "response_format" in body:
        return "a JSON schema"
    return "tools" if "tools" in body else "neither"


def request_body(
    chat: Sequence[Message], schema: dict[str, Any] | None, features: ServerFeatures, numbers: dict[str, Any]
) -> dict[str, Any]:
    """A chat as the server takes it. `numbers`: model, temperature, max_tokens. `schema`: of the answer, or none."""
    body: dict[str, Any] = {"messages": list(chat), **streamed(numbers, features)}

    # the strictest form that the server is not known to refuse
    form = features.forms[0] if schema is not None else "neither"
    if form == "a JSON schema":
        named = {"name": "scene", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif form == "tools":
        function = {"name": "scene", "description": "Give the scene.", "parameters": schema}
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = {"type": "function", "function": {"name": "scene"}}
    return body


def streamed(numbers: dict[str, Any], features: ServerFeatures) -> dict[str, Any]:
    """The keys of a streamed request, without those that the server refused."""
    body = {**numbers, "stream": True, "stream_options": {"include_usage": True}}
    for name in features.left_out & body.keys():
        value = body.pop(name)
        if name == "max_tokens":
            body["max_completion_tokens"] = value  # what OpenAI's reasoning models call it

    # options of a stream that is not requested are an error at some servers
    if "stream" not in body:
        body.pop("stream_options", None)
    return body


class _Part(BaseModel):
    """A part of an answer; each is null or missing where there is nothing of it."""

    model_config = ConfigDict(defer_build=True)


class _Function(_Part):
    arguments: str | None = None


class _ToolCall(_Part):
    function: _Function | None = None


class _Message(_Part):
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None  # vLLM, DeepSeek, llama.cpp
    reasoning: str | None = None  # OpenRouter, Ollama
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(_Part):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    text: str | None = None  # of a base model
    finish_reason: str | None = None


class _Usage(_Part):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(_Part):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


@dataclass
class Answer:
    """An answer as it comes in, whole or piece by piece."""

    text: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)  # of a tool
    reasoning: list[str] = field(default_factory=list)
    refusal: str = ""
    finish: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    characters: int = 0  # of all that came

    def add(self, data: str | bytes) -> None:
        """Add a JSON object of the protocol. Raises `AnimaticError` where it is none, or holds an error."""
        try:
            chunk = _Chunk.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise AnimaticError(f"the server's answer cannot be read ({place or 'JSON'}: {first['msg']})") from None
        if chunk.error:
            raise AnimaticError(f"the server's answer is an error ({chunk.error})")
        if chunk.usage is not None:
            asked = chunk.usage.prompt_tokens or 0
            self.usage = {"asked": asked, "answered": chunk.usage.completion_tokens or 0}
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._add_choice(choice)

    def add_line(self, line: str) -> bool:
        """Add a line of an event stream; False at its end. Comments and other fields hold nothing of an answer."""
        if not line.startswith("data:"):
            return True
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return False
        if data:
            self.add(data)
        return True

    def reply(self) -> ModelReply:
        """The whole reply: a tool's arguments, or the text. Raises `AnimaticError` where there is neither."""
        arguments = "".join(self.arguments)
        text = arguments if arguments.strip() else "".join(self.text)
        thought = "".join(self.reasoning)
        if not text.strip() and self.finish == "stop":
            text = thought  # some servers put the only answer there
        if text.strip():
            return ModelReply(text, self.usage)
        if self.refusal:
            raise AnimaticError(f"the model refuses ({self.refusal})")
        if thought.strip():
            ends = f", ended by {self.finish!r}" if self.finish else ""
            raise AnimaticError(f"the answer holds {len(thought):,} characters of reasoning and no text{ends}")
        raise AnimaticError("the server's answer holds no text")

    def _add_choice(self, choice: _Choice) -> None:
        # a stream sends a delta, an answer in one object a message
        part = choice.delta or choice.message or _Message()
        content = part.content
        if isinstance(content, list):
            texts = [item["text"] for item in content if isinstance(item.get("text"), str)]
            content = "".join(texts)
        calls: list[str] = []
        for call in part.tool_calls or ():
            if call.function is not None:
                calls.append(call.function.arguments or "")
        pieces = {
            "text": choice.text or content or "",
            "arguments": "".join(calls),
            "reasoning": part.reasoning_content or part.reasoning or "",
        }

        self.text.append(pieces["text"])
        self.arguments.append(pieces["arguments"])
        self.reasoning.append(pieces["reasoning"])
        self.characters += sum(map(len, pieces.values()))
        self.refusal += part.refusal or ""
        self.finish = choice.finish_reason or self.finish
