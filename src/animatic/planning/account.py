"""What became of each word of a prompt: a semantic account in which every content word has exactly one role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from .tokens import Token, tokens


class Role(StrEnum):
    """What a content word of a prompt does in the planned scene."""

    OBJECT = "object"  # names what has boxes of its own
    ATTRIBUTE = "attribute"  # colour, size, number, part or clothes of an object
    MOTION = "motion"  # shows in how the boxes change
    RELATION = "relation"  # shows in where boxes stand
    PLACE = "place"  # the background
    UNWANTED = "unwanted"  # the negative prompt
    STYLE = "style"  # look, camera, light, weather, time of day or manner: for the video model, not for boxes
    NOT_UNDERSTOOD = "not understood"


@dataclass(frozen=True)
class WordAccount:
    """A content word as it stands in the prompt, `prompt[start:end]`, and its role."""

    word: str
    role: Role
    start: int
    end: int


@dataclass(frozen=True)
class Account:
    """The content words of a prompt in their order; words without content ("the", "is") are left out."""

    prompt: str
    words: tuple[WordAccount, ...]

    @property
    def not_understood(self) -> tuple[str, ...]:
        """The words that changed nothing in the scene, each once."""
        return self.with_role(Role.NOT_UNDERSTOOD)

    def with_role(self, role: Role) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.word for each in self.words if each.role == role))

    def summary(self) -> str:
        """One line, role by role: "object: bear; motion: walks, left; not understood: juggles"."""
        lists = ((role, self.with_role(role)) for role in Role)
        return "; ".join(f"{role}: {', '.join(found)}" for role, found in lists if found)

    def warnings(self) -> tuple[str, ...]:
        """A line that names what was not understood, if anything."""
        if not self.not_understood:
            return ()
        listed = ", ".join(repr(word) for word in self.not_understood)
        return (f"not understood, so in no box: {listed}",)

    def to_list(self) -> list[dict[str, object]]:
        """JSON: one record of word, role, start and end for each content word."""
        return [asdict(each) for each in self.words]


def account_of(prompt: str, role: Role) -> Account:
    """An account in which every content word has the same role."""
    return Account(prompt, tuple(WordAccount(t.text, role, t.start, t.end) for t in tokens(prompt) if t.is_content))


def joined(accounts: Iterable[Account]) -> Account:
    """The account of a story, whose scenes' prompts follow each other in lines."""
    texts: list[str] = []
    words: list[WordAccount] = []
    offset = 0
    for account in accounts:
        texts.append(account.prompt)
        words += [WordAccount(w.word, w.role, w.start + offset, w.end + offset) for w in account.words]
        offset += len(account.prompt) + 1
    return Account("\n".join(texts), tuple(words))


class Ledger:
    """Roles of words while a prompt is read: each content word is not understood until it gets a role."""

    def __init__(self, prompt: str, tokens: Sequence[Token]) -> None:
        self.prompt = prompt
        self.tokens = tokens
        self._roles = [Role.NOT_UNDERSTOOD if token.is_content else None for token in tokens]
        self.about: dict[int, tuple[str, tuple[int, ...]]] = {}

    def low(self, token: int) -> str:
        return self.tokens[token].low

    def set(self, role: Role, *tokens: int, objects: Sequence[int] = (), check: str = "") -> None:
        """Give content words a role; the last call counts.

        `objects` and `check` are kept for `about`: after the layout, whether the role shows in their boxes.
        """
        for i in tokens:
            if self._roles[i] is None:  # a word without content has no role
                continue
            self._roles[i] = role
            self.about.pop(i, None)
            if check:
                self.about[i] = (check, tuple(objects))

    def role(self, token: int) -> Role | None:
        return self._roles[token]

    def account(self) -> Account:
        words = [
            WordAccount(token.text, role, token.start, token.end)
            for token, role in zip(self.tokens, self._roles, strict=True)
            if role
        ]
        return Account(self.prompt, tuple(words))
