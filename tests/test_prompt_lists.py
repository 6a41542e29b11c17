"""A list of prompts in, a video each out, on the command line: resumable, one failure holds up nobody."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from animatic.finishing.prompts import videos_of
from animatic.video import Video

QUICK = ("--steps", "1", "--frames", "2")
PROMPTS = ["A red car", "A bear walks to the left", "A red car"]


@pytest.fixture
def file(here, tmp_path):
    (tmp_path / "list.txt").write_text("\n\n".join(PROMPTS) + "\n")
    return "list.txt"


def times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_a_video_of_each_line(here, file, tmp_path):
    code, out, err = here("make", "--prompts", file, *QUICK, "--seed", "5", "--json")
    assert code == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    assert [each["videos"] for each in told] == [
        ["out/a-red-car.mp4"], ["out/a-bear-walks-to-the-left.mp4"], ["out/a-red-car-2.mp4"],
    ]  # fmt: skip
    made = [Video.load(tmp_path / each["videos"][0]) for each in told]
    assert [video.info["prompt"] for video in made] == PROMPTS and {video.info["seed"] for video in made} == {5}
    assert np.array_equal(made[0].frames, made[2].frames)  # the same line is the same video, wherever it stands

    code, _, err = here("make", "A red car", "--name", "alone", *QUICK, "--seed", "5")
    assert code == 0 and np.array_equal(Video.load(tmp_path / "out/alone.mp4").frames, made[0].frames), err


def test_again_makes_what_is_missing_or_other(here, tmp_path):
    (tmp_path / "list.txt").write_text("A red car\nA bear walks to the left\nA blue ball\n")
    command = ("make", "--prompts", "list.txt", *QUICK)
    assert here(*command)[0] == 0
    before = times(tmp_path / "out")
    code, _, err = here(*command)
    assert code == 0 and err.count("there  out/") == 3 and times(tmp_path / "out") == before

    (tmp_path / "out/a-red-car.mp4").write_bytes(b"cut off")
    os.remove(tmp_path / "out/a-bear-walks-to-the-left.mp4")
    code, _, err = here(*command)
    after = times(tmp_path / "out")
    assert code == 0 and err.count("there  ") == 1 and after["a-blue-ball.mp4"] == before["a-blue-ball.mp4"]
    assert len(Video.load(tmp_path / "out/a-bear-walks-to-the-left.mp4")) == 2
    assert (tmp_path / "out/a-red-car.mp4").read_bytes() == b"cut off"  # whoever wrote that keeps it
    assert here(*command)[2].count("there  ") == 3

    other = (*command, "--set", "gligen.until=0.5")
    code, _, err = here(*other)
    assert code == 0 and "there" not in err
    assert here(*other)[2].count("there  ") == here(*command)[2].count("there  ") == 3


def test_repeats_have_the_seeds_of_the_originals(here, tmp_path):
    """LVD's and LMD's --seed_offset 5 --repeats 3."""
    (tmp_path / "list.txt").write_text("A red car\n")
    code, _, err = here("make", "--prompts", "list.txt", *QUICK, "--seed", "5", "--repeats", "3")
    assert code == 0, err
    names = ("a-red-car", "a-red-car-r2", "a-red-car-r3")
    assert [Video.load(tmp_path / f"out/{n}.mp4").info["seed"] for n in names] == [5, 5 + 6789, 5 + 2 * 6789]


def test_rendered_as_typed(here, file, tmp_path):
    """Without a plan, as LaVie's programs do it: the frames of `videos_of`."""
    code, _, err = here("render", "--prompts", file, *QUICK, "--seed", "4", "--then", "motion:2")
    assert code == 0, err
    wanted = list(videos_of(PROMPTS, "mini", "motion:2", seed=4, steps=1, frames=2))
    names = ["a-red-car", "a-bear-walks-to-the-left", "a-red-car-2"]
    for name, want in zip(names, wanted, strict=True):
        found = Video.load(tmp_path / f"out/{name}.mp4")
        assert found.info["request"]["method"] == "none" and not found.info["scene"]["tracks"]
        assert found.info["request"] == json.loads(json.dumps(want.info["request"]))
        assert len(found) == len(want) == 3 and found.fps == want.fps


def test_one_that_fails_holds_up_nobody(here, tmp_path):
    (tmp_path / "list.txt").write_text("A red car\nA zebra on a bicycle\nA blue ball\n")
    code, _, err = here("make", "--prompts", "list.txt", *QUICK)
    assert code == 2 and err.count("video  out/") == 2
    assert "failed 'A zebra on a bicycle': " in err and "error: 1 of 3 prompts were not made" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("make", "--prompts", "none.txt"), "none.txt: cannot be read"),
        (("make", "--prompts", "empty.txt"), "empty.txt: holds no prompt; want one a line"),
        (("make", "a bear", "--prompts", "empty.txt"), "make takes a prompt, --prompts FILE, or --story FILE or TEXT"),
        (("make", "--prompts", "one.txt", "--name", "x"), "name is 'x', for one result"),
        (("make", "--prompts", "one.txt", "--format", "avi"), "unknown format 'avi'"),
        (("render", "--prompts", "one.txt", "one.json"), "render takes a scene or story file, or --prompts FILE"),
        (("render",), "render takes a scene or story file, or --prompts FILE"),
    ],
)
def test_what_cannot_be_asked(here, tmp_path, words, message):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "one.txt").write_text("a bear\n")
    code, _, err = here(*words)
    assert code == 2 and message in err and err.count("\n") == 1 and not (tmp_path / "out").exists()
