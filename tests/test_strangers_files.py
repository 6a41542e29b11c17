"""Files of strangers: whatever was changed in them, they are read or refused in one line, and steer no terminal."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from animatic.benchmarks.run_store import Run
from animatic.benchmarks.scoring import read_score
from animatic.cli import main
from animatic.cli.console import printable
from animatic.errors import AnimaticError
from animatic.files import read_json
from animatic.media.formats import embedded_info
from animatic.scene import load_story

SEED = 20
SCENE = {
    "prompt": "a bear walks left of a red ball",
    "background": "a field",
    "seconds": 2.0,
    "tracks": [
        {"phrase": "a bear", "boxes": [[0.1, 0.2, 0.4, 0.8], [0.3, 0.2, 0.6, 0.8]]},
        {"phrase": "a red ball", "boxes": [[0.7, 0.6, 0.9, 0.8], None]},
    ],
}
VALUES = (
    *("null", "true", "-1", "1e400", "NaN", "[]", "{}", '""', '"\\ud800"', '"\\u001b[2J"'),
    *("9" * 6000, "[" * 100_000, '{"a":' * 5000, '"' + "x" * 10_000 + '"'),
)


def mutated(text: str, rng: random.Random) -> str:
    """The text with one to three of its parts cut, doubled, exchanged, or replaced by a value of another kind."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randint(0, 12))
        piece = rng.choice(("", text[start:end] * 2, chr(rng.randrange(0x20, 0x3000)), rng.choice(VALUES)))
        text = text[:start] + piece + text[end:]
    return text


def try_scenes(folder: Path, count: int) -> int:
    """How many of `count` mutated scenes are refused; anything but an AnimaticError of one line fails the test."""
    rng = random.Random(SEED)
    file = folder / "scene.json"
    messages: list[str] = []
    for _ in range(count):
        file.write_text(mutated(json.dumps(SCENE), rng), "utf-8")
        try:
            load_story(file)
        except AnimaticError as error:
            messages.append(str(error))
    assert not [message for message in messages if "\n" in message]
    return len(messages)


def test_a_mutated_scene_is_read_or_refused_in_one_line(tmp_path: Path):
    assert 0 < try_scenes(tmp_path, 300) < 300  # some are read: the mutations are not all beyond reading


@pytest.mark.sweep("ten thousand inputs of a kind")
def test_ten_thousand_mutated_scenes(tmp_path: Path):
    assert 0 < try_scenes(tmp_path, 10_000) < 10_000


@pytest.mark.parametrize("text", ["9" * 6000, "[" * 200_000, "{"])
def test_json_that_python_refuses_is_one_line(tmp_path: Path, text: str):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(AnimaticError, match="not JSON"):
        read_json(file)
    assert embedded_info({"comment": text}) == {}


@pytest.mark.parametrize("text", ["9" * 6000, "[" * 200_000, "[]", "{", "\xff"])
@pytest.mark.parametrize(("opened", "name"), [(Run, "manifest.json"), (read_score, "score.json")])
def test_a_damaged_file_of_a_run_is_one_line(tmp_path: Path, opened: Callable[[Path], object], name: str, text: str):
    file = tmp_path / name
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(AnimaticError, match=name):
        opened(tmp_path)


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    hostile = "\x1b]0;title\x07\x1b[2J\x9b2J\u202e"
    file = tmp_path / "scene.json"
    file.write_text(json.dumps({**SCENE, "reasoning": hostile, "background": f"a field {hostile}"}))
    with pytest.raises(SystemExit):
        main(["show", str(file)])
    shown = "".join(capsys.readouterr())
    assert "a bear" in shown and "\\u001b]0;title\\u0007" in shown
    assert not set(hostile) & set("\x1b\x07\x9b\u202e") & set(shown)


def test_what_is_printable_stays_as_it_is():
    assert printable("a bär [b]\tx\ny") == "a bär [b]\tx\ny"
    assert json.loads(printable(json.dumps("\x9b\ud800", ensure_ascii=False))) == "\x9b\ud800"
