"""Templates: what a language model is told, as markdown files that users may replace.

A file is a chat: headings `# system`, `# user`, `# assistant`. `{form}` stands for the description of the answer's
form, `{prompt}` in the last part for the caption. Examples are Scene JSON, shown in the form that is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ..errors import AnimaticError
from . import replies
from .replies import MOST

Form = Literal["json", "text"]
KINDS = {"image": 1, "video": 6, "story": 6}  # key frames

SHOTS = 6  # of a story, at most

_JSON_FORM = (
    "Answer with one JSON object and nothing else. Boxes are [x0, y0, x1, y1] in fractions of the picture, 0 to 1, "
    "origin at the top left; null where a thing is not in the picture. Its keys are those of the examples."
)
_TEXT_FORMS = {
    "image": (
        "The picture measures 512 x 512 pixels, origin at the top left. Answer in plain text with three parts: a list "
        "[('name', [x, y, width, height]), ...] on one line, a line that begins with 'Background prompt:', and a line "
        "that begins with 'Negative prompt:'."
    ),
    "video": (
        "The picture measures 512 x 512 pixels, origin at the top left. Answer in plain text, without markdown: a line "
        "that begins with 'Reasoning:'; then for each moment a line 'Frame 1:' to 'Frame 6:' with a list of {'id': 0, "
        "'name': 'cat', 'box': [x, y, width, height]}, ids the same for the same thing; then a line 'Background "
        "keyword:'."
    ),
}


@dataclass(frozen=True)
class Template:
    """A chat that ends where the caption is to be put."""

    kind: str
    parts: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """A short hash of all that is told: another template is another planner."""
        return hashlib.sha256(json.dumps([self.kind, self.parts]).encode()).hexdigest()[:16]

    def messages(self, prompt: str, form: Form = "json") -> list[dict[str, str]]:
        """The chat for a caption, in the form of the OpenAI protocol."""
        if form == "text" and self.kind not in _TEXT_FORMS:
            raise AnimaticError(f"a {self.kind} has no text form; want json")
        about = _JSON_FORM if form == "json" else _TEXT_FORMS[self.kind]
        out = []
        for role, words in self.parts:
            if role == "assistant" and form == "text":
                words = replies.to_text(replies.read(words).scene("example", 0.0)[0])
            words = words.replace("{form}", about).replace("{prompt}", json.dumps(prompt, ensure_ascii=False))
            out.append({"role": role, "content": words})
        return out

    def schema(self) -> dict[str, Any]:
        """JSON schema of the answer, as strict structured output wants it: every key required, no other allowed."""
        side = {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.01}
        box = {"anyOf": [_list(side, 4, 4), {"type": "null"}]}
        track = _object(phrase={"type": "string"}, boxes=_list(box, KINDS[self.kind], KINDS[self.kind]))
        words = {key: {"type": "string"} for key in ("reasoning", "background", "negative")}
        tracks = _list(track, 0, MOST)
        if self.kind != "story":
            return _object(**words, tracks=tracks)
        scene = _object(prompt={"type": "string"}, seconds={"type": "number"}, **words, tracks=tracks)
        return _object(scenes=_list(scene, 1, SHOTS))


def _list(item: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def template(kind: str = "video", path: str | Path = "") -> Template:
    """The template of a kind (image, video, story), or one's own from a file."""
    if kind not in KINDS:
        raise AnimaticError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    file = Path(path) if path else files("animatic.planning") / "templates" / f"{kind}.md"
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnimaticError(f"template {file}: cannot be read ({error})") from None
    found = re.split(r"^# (system|user|assistant)[ \t]*$", text, flags=re.MULTILINE)
    parts = tuple((role, words.strip()) for role, words in zip(found[1::2], found[2::2], strict=True))
    if not parts or parts[-1][0] != "user" or "{prompt}" not in parts[-1][1]:
        raise AnimaticError(
            f"template {file}: want parts '# system', '# user', ... that end in a user part with {{prompt}}"
        )
    return Template(kind, parts)
