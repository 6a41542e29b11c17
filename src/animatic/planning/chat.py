"""Language models that plan: any OpenAI-compatible server, of chat or base models, and a person who pastes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import AnimaticError, warn
from .language_model import Message, ModelReply

LOCAL_KEY = "none"  # a local server needs no key


class RateLimiter:
    """At most `per_minute` calls a minute, over all threads (0: no limit)."""

    def __init__(self, per_minute: float = 0.0) -> None:
        if per_minute < 0:
            raise AnimaticError(f"rate is {per_minute} a minute; want 0 (no limit) or more")
        self._gap, self._next, self._lock = 60 / per_minute if per_minute else 0.0, 0.0, threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        time.sleep(start - now)


@dataclass
class Server:
    """A chat model on an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, Ollama, `transformers serve`).

    `base_url` "" is OpenAI's. The key is read from OPENAI_API_KEY; a server of one's own needs none. `timeout` in
    seconds per call; `retries` of what may pass (429 with its Retry-After, 5xx, a broken line), with growing pauses.
    """

    name: str
    base_url: str = ""
    temperature: float = 0.25
    max_tokens: int = 4096
    timeout: float = 120.0
    retries: int = 4
    rate: RateLimiter = field(default_factory=RateLimiter)
    planner: str = "openai"
    _structured: bool = field(default=True, init=False)

    @property
    def settings(self) -> str:
        return f"temperature={self.temperature} max_tokens={self.max_tokens} base_url={self.base_url}"

    def __call__(self, chat: Sequence[Message], schema: dict[str, Any] | None) -> ModelReply:
        """One reply. Raises `AnimaticError` in one line, without the key."""
        client = self._client
        import openai  # installed: the client is its own

        while True:
            structured = schema is not None and self._structured
            self.rate.wait()
            try:
                answer = self._request(client, chat, schema if structured else None)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not structured or not _refuses_schema(str(error)):
                    raise AnimaticError(f"{self.name}: refused ({self._short_message(error)})") from None
                self._structured = False  # repeated without a schema, as are all later requests
                warn(f"{self.name}: the server takes no JSON schema, and is asked without one")
            except (openai.OpenAIError, ValueError) as error:
                raise AnimaticError(self._error_message(error)) from None
            else:
                return self._reply(answer)

    def _request(self, client: Any, chat: Sequence[Message], schema: dict[str, Any] | None) -> Any:
        """One call of the server."""
        import openai

        scene = {"name": "scene", "strict": True, "schema": schema}
        return client.chat.completions.create(
            model=self.name,
            messages=list(chat),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            response_format={"type": "json_schema", "json_schema": scene} if schema else openai.omit,
        )

    def _text(self, answer: Any) -> Any:
        return answer.choices[0].message.content

    @cached_property
    def _client(self) -> Any:
        """The library's client, created at the first request."""
        try:
            import openai
        except ImportError:
            raise AnimaticError("asking a server needs the openai client; pip install 'animatic[llm]'") from None
        key = os.environ.get("OPENAI_API_KEY", "")
        if not key and not self.base_url:
            raise AnimaticError("no key: set OPENAI_API_KEY, or give --base-url for a server of your own")
        return openai.OpenAI(
            api_key=key or LOCAL_KEY, base_url=self.base_url or None, timeout=self.timeout, max_retries=self.retries
        )

    def _reply(self, answer: Any) -> ModelReply:
        try:
            text, used = self._text(answer), answer.usage
        except (AttributeError, IndexError, TypeError):  # a page of HTML, or an answer of other parts
            text = used = None
        if not isinstance(text, str) or not text.strip():
            raise AnimaticError(f"{self.name}: the server's answer holds no text")
        return ModelReply(
            text, {"asked": used.prompt_tokens or 0, "answered": used.completion_tokens or 0} if used else {}
        )

    def _error_message(self, error: Exception) -> str:
        """What went wrong, in one line."""
        import openai

        match error:
            case openai.AuthenticationError():
                return f"{self.name}: the server refused the key; set OPENAI_API_KEY to a valid one"
            case openai.NotFoundError():
                return f"unknown model {self.name!r} ({self._short_message(error)})"
            case openai.APITimeoutError():
                return f"{self.name}: no answer in {self.timeout:g} s, {self.retries + 1} times"
            case openai.APIConnectionError():
                return f"{self.name}: {self.base_url or 'the OpenAI server'} cannot be reached"
            case openai.APIStatusError():
                return f"{self.name}: the server answered {error.status_code} ({self._short_message(error)})"
            case _:  # a body that is no JSON, or not of the protocol
                return f"{self.name}: the server's answer cannot be read ({self._short_message(error)})"

    def _short_message(self, error: Exception) -> str:
        """The server's message in one short line; the key, should it be quoted, is left out."""
        key = os.environ.get("OPENAI_API_KEY", "")
        words = " ".join(str(error).split())
        if key:
            words = words.replace(key, "[key]")
        return words if len(words) <= 160 else words[:159] + "\u2026"


@dataclass
class Completions(Server):
    """A base language model on such a server: it continues a text, without a chat (`/v1/completions`).

    LMD and LVD use models without instruction tuning in this way, with at most 900 tokens and an empty line as the stop
    sequence. A schema is not sent: the examples of the template show the form.
    """

    max_tokens: int = 900
    planner: str = "completions"
    _structured: bool = field(default=False, init=False)

    def _request(self, client: Any, chat: Sequence[Message], schema: dict[str, Any] | None) -> Any:
        text = "\n\n".join(message["content"].strip() for message in chat)
        return client.completions.create(
            model=self.name,
            prompt=text if text.endswith(":") else f"{text}\n\n",  # LMD's own template ends in "Objects:"
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop="\n\n",
        )

    def _text(self, answer: Any) -> Any:
        return answer.choices[0].text


def _refuses_schema(words: str) -> bool:
    return any(w in words for w in ("response_format", "json_schema", "structured", "guided", "schema"))


@dataclass
class Paste:
    """A person in between: shows the chat, takes the reply from `read` (up to an empty line after text, or the end)."""

    read: Callable[[], str]
    show: Callable[[str], None] = lambda text: print(text, file=sys.stderr)
    planner: str = "paste"
    name: str = "paste"
    settings: str = ""

    def __call__(self, chat: Sequence[Message], schema: dict[str, Any] | None) -> ModelReply:
        self.show("\n\n".join(f"[{m['role']}]\n{m['content']}" for m in chat))
        text = self.read()
        if not text.strip():
            raise AnimaticError("paste: the reply is empty")
        return ModelReply(text)
