"""The benchmark of stories and edits: its rows say the settings that they were measured with, and are measured so."""

import json
import warnings

import pytest

from animatic.benchmarks import stories


def row(capsys, table: str, **options) -> dict:
    """The one row of a table of one case."""
    stories.main("mini", 1, steps=2, tables=table, **options)
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


@pytest.mark.parametrize("table", ["swap", "weight"])
def test_a_row_says_its_settings(table, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # after two steps there is nothing to detect, and no mean of it
        found = row(capsys, table, guidance=2.0)
    assert {key: found[key] for key in ("table", "n", "seed", "steps", "guidance")} == {
        "table": table, "n": 1, "seed": 0, "steps": 2, "guidance": 2.0,
    }  # fmt: skip


def test_the_guidance_is_that_of_the_renders(capsys):
    own, other = (row(capsys, "stories", methods="isolated none", guidance=scale)["cscv"] for scale in (None, 1.0))
    assert own != other
