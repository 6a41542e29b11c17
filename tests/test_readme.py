"""What the README shows runs, and its tables are current."""

import re
from functools import partial
from pathlib import Path

import animatic
from animatic.backbones import PRESETS
from animatic.methods import METHODS

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.setattr(animatic, "render", partial(animatic.render, steps=2))  # as it stands, but for its time
    exec(compile(code, "README.md", "exec"), {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["car-lvd-gligen.mp4", "car-none.mp4", "car.json"]
    assert "0." in capsys.readouterr().out


def test_the_tables_name_every_method_and_model():
    named = set(re.findall(r"`([\w.:+-]+)`", "\n".join(line for line in README.splitlines() if line.startswith("|"))))
    assert METHODS.keys() | PRESETS.keys() <= named
