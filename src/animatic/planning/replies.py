"""Readers of language model replies: Scene JSON, and the text forms of LMD (stills) and LVD (boxes per frame)."""

from __future__ import annotations

from ..errors import AnimaticError
from .answer_form import read_answer, read_story_answer
from .json_text import last_object, without_thinking
from .reply import MAX_TRACKS, Reply, ReplyObject, quote
from .text_forms import is_frames, is_still, read_frames, read_still, to_text

__all__ = ["MAX_TRACKS", "Reply", "ReplyObject", "read", "read_frames", "read_still", "read_story", "to_text"]

MAX_CHARACTERS = 1_000_000  # of a reply; the longest of the published benchmarks has some 5,000


def read(text: str, legacy: bool = False) -> Reply:
    """Read a reply in any of the three forms. `legacy`: stills get LMD's box filter and scaling.

    What stands in `<think>` is left out. What was repaired is in `Reply.repairs`. Raises `AnimaticError` that quotes
    the line it could not read and says what was expected.
    """
    # JSON first: the text forms' labels may stand in its strings
    answer = _answer(text)
    found = last_object(answer, "tracks")
    if found is not None:
        return _with_repairs(read_answer(found.value), found.repairs)

    # then the text forms, by their labels
    if is_frames(answer):
        return read_frames(answer)
    if is_still(answer):
        return read_still(answer, legacy)
    raise AnimaticError(
        f"reply {quote(answer)}: found neither JSON with tracks, nor 'Frame 1:', nor 'Background prompt:'"
    )


def read_story(text: str) -> list[tuple[str, Reply]]:
    """Read a story: `{"scenes": [{"prompt", "seconds", "tracks", ...}]}`. Raises `AnimaticError` as `read` does."""
    answer = _answer(text)
    found = last_object(answer, "scenes")
    if found is None:
        raise AnimaticError(f"reply {quote(answer)}: found no JSON with scenes")

    # what was repaired in the text is kept with the first scene
    (prompt, first), *others = read_story_answer(found.value)
    return [(prompt, _with_repairs(first, found.repairs)), *others]


def _answer(text: str) -> str:
    """A reply without what the model thought. Raises `AnimaticError` where nothing else is there, or far too much."""
    if len(text) > MAX_CHARACTERS:
        raise AnimaticError(f"reply has {len(text):,} characters; want at most {MAX_CHARACTERS:,}")
    answer = without_thinking(text)
    if text.strip() and not answer.strip():
        raise AnimaticError(f"reply {quote(text)}: ends inside <think>; want an answer after it")
    return answer


def _with_repairs(reply: Reply, repairs: tuple[str, ...]) -> Reply:
    """The reply with what was repaired before, in its text."""
    return Reply(
        reply.tracks, reply.background, reply.negative, reply.reasoning, reply.seconds, repairs + reply.repairs
    )
