"""What the project says of itself: its version, its changelog, its contributors' guide, and its API reference."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import animatic
from animatic.backbones.folder import RENAMED_KEYS
from animatic.cli.aliases import present_names

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_version_is_printed(here):
    code, out, err = here("--version")
    assert (code, out, err) == (0, f"animatic {version('animatic')}\n", "")
    assert animatic.__version__ == version("animatic")


def test_importing_animatic_imports_no_torch():
    code = "import sys, animatic; animatic.__version__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("words", "offered"), [("animatic ren", "render"), ("animatic train --learning", "--learning-rate")]
)
def test_the_shell_completes_commands_and_options(words, offered):
    code = "import sys; sys.argv = ['animatic']; from animatic.cli import main; main()"
    request = {"_ANIMATIC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **request}, capture_output=True, text=True)
    assert done.stdout.split() == [offered], done.stderr


def test_the_package_is_typed():
    assert (Path(animatic.__file__).parent / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_changelog_begins_with_the_version_that_is_made():
    first = re.search(r"^## \[([\d.]+)\]", page("CHANGELOG.md"), re.MULTILINE)
    assert first
    assert PROJECT["version"].partition(".dev")[0] == first[1]


@pytest.mark.parametrize("names", [RENAMED_KEYS, present_names("train"), present_names("studio")])
def test_the_changelog_lists_every_name_that_is_read_for_one_more_version(names):
    text = page("CHANGELOG.md")
    for old, new in names.items():
        assert f"`{old}` | `{new}`" in text


def test_the_pages_for_contributors_name_files_and_targets_that_are_there():
    text = page("CONTRIBUTING.md")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text + page("CHANGELOG.md")):
        assert (ROOT / target).exists(), target
    for file in re.findall(r"`((?:tests|runs|examples)/[\w/.]+)`", text):
        assert (ROOT / file).exists(), file
    targets = set(re.findall(r"^([\w-]+):", page("Makefile"), re.MULTILINE))
    named = {target for words in re.findall(r"`?make ([a-z -]+)`", text) for target in words.split()}
    assert named <= targets


def test_the_test_that_the_contributors_guide_runs_is_there():
    (command,) = re.findall(r"`\.venv/bin/python -m pytest (.*-k .*?)`", page("CONTRIBUTING.md"))
    *options, file, _, word = command.split()
    assert options == ["-n", "0"]
    assert re.search(rf"^def test_\w*{word}", page(file), re.MULTILINE), command


@pytest.mark.parametrize("page", ["promises.md"])
def test_the_tests_that_a_page_names_are_there(page):
    """Each promise is held by the tests beside it."""
    named = re.findall(r"`(test_\w+)::(test_\w+)`", (ROOT / "docs" / page).read_text("utf-8"))
    assert len(named) > 20
    for file, test in named:
        found = [path for path in (ROOT / "tests").rglob(f"{file}.py") if f"def {test}(" in path.read_text("utf-8")]
        assert found, f"{page} names {file}::{test}, which is not there"
