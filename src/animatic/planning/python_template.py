"""Templates in the `prompt.py` of LMD and LVD, read as they are: their text is not ours to bundle.

Both files assign `templates = {"v0.1": NAME}`. LMD's template is one text in which `{prompt}` stands for the caption
(https://github.com/TonyLianLong/LLM-groundedDiffusion), LVD's a chat that the caption follows
(https://github.com/TonyLianLong/LLM-groundedVideoDiffusion). Only literals are read: no code of the file runs.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from ..errors import AnimaticError
from ..files import read_text

WANT = 'want templates = {"v0.1": NAME} and NAME a text with {prompt} (LMD) or a list of messages (LVD)'
CAPTION = "Caption: {prompt}"  # what LVD's utils/llm.py puts after its chat


def read_python_template(file: Path) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The kind of plan ("image", "video") and the parts (role, words) of the first template that a file names.

    Raises `AnimaticError` where the file has none.
    """
    try:
        tree = ast.parse(read_text(file))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise AnimaticError(f"template {file}: not Python ({error})") from None
    assigned = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    versions = assigned.get("templates")
    first = versions.values[0] if isinstance(versions, ast.Dict) and versions.values else None
    found = _literal(assigned.get(first.id) if isinstance(first, ast.Name) else first)

    if isinstance(found, str) and "{prompt}" in found:
        return "image", (("user", found.strip()),)
    if isinstance(found, list) and found and all(_is_message(message) for message in found):
        return "video", (*((message["role"], message["content"]) for message in found), ("user", CAPTION))
    raise AnimaticError(f"template {file}: {WANT}")


def _literal(node: ast.expr | None) -> Any:
    """The value of a literal; None where it is computed."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"role", "content"} and set(map(type, value.values())) == {str}
