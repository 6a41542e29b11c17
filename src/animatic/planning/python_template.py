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

    # what is assigned to each name at the top level; the last assignment counts, as in Python
    assigned: dict[str, ast.expr] = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            continue
        for target in statement.targets:
            if isinstance(target, ast.Name):
                assigned[target.id] = statement.value

    # the first version, itself or by its name
    versions = assigned.get("templates")
    first: ast.expr | None = None
    if isinstance(versions, ast.Dict) and versions.values:
        first = versions.values[0]
    if isinstance(first, ast.Name):
        first = assigned.get(first.id)
    found = _literal(first)

    if isinstance(found, str) and "{prompt}" in found:
        return "image", (("user", found.strip()),)
    if isinstance(found, list) and found and all(_is_message(message) for message in found):
        chat = [(message["role"], message["content"]) for message in found]
        return "video", (*chat, ("user", CAPTION))
    raise AnimaticError(f"template {file}: {WANT}")


def _literal(node: ast.expr | None) -> Any:
    """The value of a literal; None where it is computed."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"role", "content"}:
        return False
    return all(isinstance(part, str) for part in value.values())
