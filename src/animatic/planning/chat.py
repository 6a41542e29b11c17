"""Language models that plan: any OpenAI-compatible server, of chat or base models, and a person who pastes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..errors import AnimaticError, warn
from .language_model import Message, ModelReply
from .server_key import VARIABLE, check_address, key_for
from .server_protocol import Answer, AnswerLimits, ServerFeatures, features_of, request_body, streamed

LOCAL_KEY = "none"  # a local server needs no key
REFUSALS = (400, 415, 422, 500, 501)  # statuses by which servers refuse a part of a request
SHOWN_EVERY = 0.1  # seconds between two reports of progress


class RateLimiter:
    """At most `per_minute` calls a minute, over all threads (0: no limit)."""

    def __init__(self, per_minute: float = 0.0) -> None:
        if per_minute < 0:
            raise AnimaticError(f"rate is {per_minute} a minute; want 0 (no limit) or more")
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        time.sleep(start - now)


@dataclass
class Server:
    """A chat model on an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, Ollama, `transformers serve`).

    `base_url` "" is OpenAI's. The key is read from OPENAI_API_KEY, see `key_for`; a server of one's own needs none.
    `timeout`: seconds for one reply in all, retries included. `retries`: of what may pass (429 with its Retry-After,
    5xx, a broken line), with growing pauses. `limits`: of an answer's size. `progress` is given the number of
    characters that have come, and 0 at the end.

    A scene is asked for with a JSON schema, else as a tool's arguments, else in words alone; what a server refuses is
    remembered for the process.
    """

    name: str
    base_url: str = ""
    temperature: float = 0.25
    max_tokens: int = 4096
    timeout: float = 120.0
    retries: int = 4
    rate: RateLimiter = field(default_factory=RateLimiter)
    planner: str = "openai"
    limits: AnswerLimits = field(default_factory=AnswerLimits)
    progress: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        check_address(self.base_url)

    @property
    def settings(self) -> str:
        return f"temperature={self.temperature} max_tokens={self.max_tokens} base_url={self.base_url}"

    def __call__(self, chat: Sequence[Message], schema: dict[str, Any] | None) -> ModelReply:
        """One reply. Raises `AnimaticError` in one line, without the key."""
        try:
            import openai
        except ImportError:
            raise AnimaticError("asking a server needs the openai client; pip install 'animatic[llm]'") from None
        if not self._key and not self.base_url:
            raise AnimaticError("no key: set OPENAI_API_KEY, or give --base-url for a server of your own")

        # each refusal takes something away, so that this ends
        features = features_of(self.base_url, self.name)
        while True:
            body = self._body(chat, schema, features)
            statuses: list[int] = []
            self.rate.wait()
            try:
                return _run(self._answer(body, statuses)).reply()
            except openai.APIStatusError as error:
                refused = features.give_up(str(error), body) if error.status_code in REFUSALS else ""
                if not refused:
                    raise AnimaticError(self._error_message(error)) from None

                # asked again without it, as are all later requests
                warn(f"{self.name}: the server does not take {refused}, and is asked without")
            except AnimaticError as error:
                raise AnimaticError(f"{self.name}: {self._short(str(error))}") from None
            except TimeoutError:
                last = f" (the last status was {statuses[-1]})" if statuses and statuses[-1] != 200 else ""
                raise AnimaticError(f"{self.name}: no whole answer in {self.timeout:g} s{last}") from None
            except (openai.OpenAIError, OSError, ValueError) as error:
                raise AnimaticError(self._error_message(error)) from None

    def _body(self, chat: Sequence[Message], schema: dict[str, Any] | None, features: ServerFeatures) -> dict[str, Any]:
        """The request, as far as the server is known to take it."""
        return request_body(chat, schema, features, self._numbers)

    @property
    def _numbers(self) -> dict[str, Any]:
        return {"model": self.name, "temperature": self.temperature, "max_tokens": self.max_tokens}

    @property
    def _key(self) -> str:
        return os.environ.get(VARIABLE, "")

    def _endpoint(self, client: Any) -> Any:
        """The endpoint of the client that takes the body."""
        return client.chat.completions

    async def _answer(self, body: dict[str, Any], statuses: list[int]) -> Answer:
        """One answer of the server, within the time limit. Raises `TimeoutError` beyond it.

        `statuses`: those of all HTTP answers, retries included, are appended.
        """
        import httpx2
        import openai

        from .limited_http import limited_client

        answer = Answer()
        shown = time.monotonic()
        async with asyncio.timeout(self.timeout), limited_client(self.limits, statuses) as http:
            # the client retries what may pass; the time limit is around it all
            client = openai.AsyncOpenAI(
                api_key=key_for(self.base_url) or LOCAL_KEY, base_url=self.base_url or None, timeout=None,
                max_retries=self.retries, http_client=http,
            )  # fmt: skip
            try:
                async with self._endpoint(client).with_streaming_response.create(**body) as response:
                    # a server that does not stream answers with one object
                    if "event-stream" not in response.headers.get("content-type", ""):
                        answer.add(await response.read())
                        return answer

                    # lines are taken by hand: fields that the client's own types do not have are kept
                    async for line in response.iter_lines():
                        if not answer.add_line(line):
                            break
                        if self.progress is not None and time.monotonic() - shown > SHOWN_EVERY:
                            shown = time.monotonic()
                            self.progress(answer.characters)
            except httpx2.HTTPError as error:
                raise AnimaticError(f"the connection broke ({error})") from None
            finally:
                if self.progress is not None:
                    self.progress(0)
        return answer

    def _error_message(self, error: Exception) -> str:
        """What went wrong, in one line."""
        import openai

        match error:
            case openai.AuthenticationError():
                return f"{self.name}: the server refused the key; set OPENAI_API_KEY to a valid one"
            case openai.NotFoundError():
                return f"unknown model {self.name!r} ({self._short(str(error))})"
            case openai.BadRequestError() | openai.UnprocessableEntityError():
                return f"{self.name}: refused ({self._short(str(error))})"
            case openai.APIConnectionError():
                return f"{self.name}: {self.base_url or 'the OpenAI server'} cannot be reached"
            case openai.APIStatusError() if 300 <= error.status_code < 400:
                goal = self._short(error.response.headers.get("location", "nowhere"))
                return f"{self.name}: the server redirects to {goal}, which is not followed; want its own --base-url"
            case openai.APIStatusError():
                return f"{self.name}: the server answered {error.status_code} ({self._short(str(error))})"
            case _:  # a body that is no JSON, or not of the protocol
                return f"{self.name}: the server's answer cannot be read ({self._short(str(error))})"

    def _short(self, words: str) -> str:
        """A message in one short line; the key, should it be quoted, is left out."""
        words = " ".join(words.split())
        if self._key:
            words = words.replace(self._key, "[key]")
        return words if len(words) <= 160 else words[:159] + "\u2026"


@dataclass
class Completions(Server):
    """A base language model on such a server: it continues a text, without a chat (`/v1/completions`).

    LMD and LVD use models without instruction tuning in this way, with at most 900 tokens and an empty line as the stop
    sequence. A schema is not sent: the examples of the template show the form.
    """

    max_tokens: int = 900
    planner: str = "completions"

    def _body(self, chat: Sequence[Message], schema: dict[str, Any] | None, features: ServerFeatures) -> dict[str, Any]:
        text = "\n\n".join(message["content"].strip() for message in chat)
        if not text.endswith(":"):  # LMD's own template ends in "Objects:"
            text += "\n\n"
        return {"prompt": text, "stop": "\n\n", **streamed(self._numbers, features)}

    def _endpoint(self, client: Any) -> Any:
        return client.completions


def _run(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of a coroutine, also where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


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
