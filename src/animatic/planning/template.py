"""Templates: the chat that a language model is given, as markdown files that users may replace.

A file is a chat: headings `# system`, `# user`, `# assistant`. `{form}` stands for the description of the answer's
form (forms.md), `{prompt}` in the last part for the caption. Examples are Scene JSON, shown in the form asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import AnimaticError
from ..files import read_text
from .python_template import read_python_template
from .reply import KINDS
from .reply import MAX_SCENES as MAX_SCENES  # stories cut their scenes to it as well

Form = Literal["json", "text"]
ROLES = "system|user|assistant"
BUNDLED = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Template:
    """A chat that ends where the caption is to be put.

    `kind`: image, video or story. `parts`: (role, text). `verbatim`: a template of LMD's or LVD's authors, sent word by
    word; it describes the form of the answer itself and takes no schema.
    """

    kind: str
    parts: tuple[tuple[str, str], ...]
    verbatim: bool = False

    @property
    def digest(self) -> str:
        """A short hash of the whole chat: replies to another template are not reused."""
        return hashlib.sha256(json.dumps([self.kind, self.parts]).encode()).hexdigest()[:16]

    def messages(self, prompt: str, form: Form = "json") -> list[dict[str, str]]:
        """The chat for a caption, in the form of the OpenAI protocol."""
        if self.verbatim:
            caption = prompt.strip().rstrip(".")
            return [{"role": role, "content": words.replace("{prompt}", caption)} for role, words in self.parts]

        # the description of the form, for the one that is requested
        forms = dict(_parts(BUNDLED / "forms.md", "json|image|video"))
        requested = self.kind if form == "text" else "json"
        if requested not in forms:
            raise AnimaticError(f"a {self.kind} has no text form; want json")
        description = " ".join(forms[requested].split())
        caption = json.dumps(prompt, ensure_ascii=False)

        # examples are written in JSON and shown in the requested form
        from . import replies

        messages = []
        for role, words in self.parts:
            if role == "assistant" and form == "text":
                words = replies.to_text(replies.read(words).scene("example", 0.0)[0])
            content = words.replace("{form}", description).replace("{prompt}", caption)
            messages.append({"role": role, "content": content})
        return messages

    def schema(self) -> dict[str, Any]:
        """JSON schema of the answer, as strict structured output wants it."""
        from .answer_form import answer_schema  # here: the offline planner needs no forms of answers

        return answer_schema(self.kind)


def load_template(kind: str = "video", path: str | Path = "") -> Template:
    """The template of a kind (image, video, story), or one's own.

    `path`: a markdown file, LMD's or LVD's prompt.py, or a folder with a file of the kind's name, such as video.md; ""
    is the bundled one. Raises `AnimaticError` in one line where it is none, or where an example is no answer.
    """
    if kind not in KINDS:
        raise AnimaticError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    file = Path(path or BUNDLED)
    if file.is_dir():
        file = file / f"{kind}.md"
    if file.suffix == ".py":
        own, parts = read_python_template(file)
        if own != kind:
            raise AnimaticError(f"template {file}: is of kind {own}, not {kind}; want --kind {own}")
        return Template(kind, parts, verbatim=True)

    parts = _parts(file, ROLES)
    if not parts or parts[-1][0] != "user" or "{prompt}" not in parts[-1][1]:
        raise AnimaticError(
            f"template {file}: want parts '# system', '# user', ... that end in a user part with {{prompt}}"
        )
    if file.parent != BUNDLED:  # a test reads the examples of our own
        _check_examples(file, kind, parts)
    return Template(kind, parts)


def _check_examples(file: Path, kind: str, parts: tuple[tuple[str, str], ...]) -> None:
    """Raise `AnimaticError` where a part is empty, or an example answer could not be read as a model's is."""
    from . import replies

    for i, (role, words) in enumerate(parts, 1):
        if not words:
            raise AnimaticError(f"template {file}: part {i}, '# {role}', is empty; want words under it")
        if role != "assistant":
            continue
        try:
            if kind == "story":
                replies.read_story(words)
            else:
                replies.read(words)
        except AnimaticError as error:
            raise AnimaticError(f"template {file}: part {i} is no answer of kind {kind}: {error}") from None


def _parts(file: Path, headings: str) -> tuple[tuple[str, str], ...]:
    """The parts of a markdown file under headings of these names; nothing may stand before the first."""
    found = re.split(rf"^# ({headings})[ \t]*$", read_text(file), flags=re.MULTILINE)
    beginning = found[0].strip()
    if beginning:
        raise AnimaticError(f"template {file}: begins with {beginning[:40]!r}; want a heading, one of {headings}")

    # `re.split` gives the names of the headings and the words below them in turn
    names = found[1::2]
    words = [part.strip() for part in found[2::2]]
    return tuple(zip(names, words, strict=True))
