"""The command line, run as a user runs it: as a process, on the bundled weights."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import UNNAMED

from animatic.methods import METHODS
from animatic.scene import Scene, load_scene, load_story
from animatic.video import Video

BEAR = "A bear walks from the left to the right"
QUICK = ("--steps", "2", "--frames", "2")
CELL = UNNAMED["vae_spatial_ratio"]


def animatic(*arguments: str, cwd) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "animatic", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    run = animatic("make", BEAR, "--json", "--seed", "5", "--format", "mp4,gif", "--steps", "3", cwd=folder)
    assert run.returncode == 0, run.stderr
    return folder, json.loads(run.stdout)


def test_make_writes_video_scene_and_sheet(made):
    folder, said = made
    assert said["videos"] == [
        "out/a-bear-walks-from-the-left-to-the-right.mp4",
        "out/a-bear-walks-from-the-left-to-the-right.gif",
    ]
    assert sorted(os.listdir(folder / "out")) == sorted(
        os.path.basename(f) for f in [*said["videos"], said["scene"], said["sheet"]]
    )
    assert (folder / said["sheet"]).read_bytes()[:4] == b"\x89PNG"
    scene = load_scene(folder / said["scene"])
    assert scene.prompt == BEAR and scene.tracks[0].phrase == "bear"
    assert len(Video.load(folder / said["videos"][0])) == UNNAMED["frames"]


def test_info_says_what_a_video_was_made_from(made, here):
    folder, said = made
    info = json.loads(here("info", str(folder / said["videos"][0]))[1])
    assert info["prompt"] == BEAR and info["seed"] == 5 and info["method"] == "lvd-gligen" and info["steps"] == 3
    assert info["scene"] == json.loads((folder / said["scene"]).read_text()) and "torch" in info["versions"]


@pytest.mark.slow("a process of its own makes a video again")
def test_render_repeats_a_scene(made):
    folder, said = made
    run = animatic(
        "render", said["scene"], "--seed", "5", "--steps", "3", "--out", "again", "--format", "gif", cwd=folder
    )
    assert run.returncode == 0 and "again/a-bear-walks-from-the-left-to-the-right.gif" in run.stdout + run.stderr
    first, second = (Video.load(folder / p / f"{os.path.basename(said['scene'])[:-5]}.gif") for p in ("out", "again"))
    off = np.abs(first.frames.astype(int) - second.frames)
    assert off.mean() < 1, "another process: a rounded level may take another of a GIF's 256 colours"


def test_plan_prints_or_writes(here, tmp_path):
    code, out, _ = here("plan", BEAR)
    assert code == 0 and json.loads(out)["tracks"][0]["phrase"] == "bear"
    code, out, _ = here("plan", BEAR, "-o", "s.json", "--draw", "s.gif")
    assert code == 0 and out == "" and sorted(os.listdir(tmp_path)) == ["s.gif", "s.json"]


def test_lists(here):
    assert json.loads(here("models", "--json")[1])[0]["model"] == "mini"
    assert [m["method"] for m in json.loads(here("methods", "--json")[1])] == list(METHODS)
    code, out, _ = here("models")
    assert code == 0 and "zeroscope" in out


BAD = {
    "empty": (["make", ""], "the prompt is empty"),
    "long": (["make", "a very " * 700 + "big bear on the grass", *QUICK], "tokens; mini-2 reads at most 64"),
    "crowd": (["make", "a bear " * 700], "names 700 objects to place; want at most 16"),
    "model": (["make", BEAR, "--model", "maxi"], "unknown model 'maxi'; known: mini"),
    "method": (["make", BEAR, "--method", "magic"], "unknown method 'magic'; known: none, lvd,"),
    "scheduler": (["make", BEAR, "--scheduler", "warp"], "unknown scheduler 'warp'"),
    "format": (["make", BEAR, "--format", "avi"], "unknown format 'avi'; known: mp4, gif, webp, png"),
    "size": (["make", BEAR, "--size", "big"], "size is 'big'; want WIDTHxHEIGHT"),
    "odd": (["make", BEAR, "--size", "62x64"], f"width is 62; this model takes multiples of {CELL}"),
    "frames": (["make", BEAR, "--frames", "500"], f"frames is 500; this model takes 1 to {UNNAMED['max_frames']}"),
    "steps": (["make", BEAR, "--steps", "0"], "steps is 0"),
    "noun": (["make", "A zebra walks to the left"], "mini-2 cannot show 'zebra'; it knows bear, cat, dog"),
    "option": (["make", BEAR, "--sped", "3"], "No such option"),
    "seed": (["make", BEAR, "--seed", "x"], "Invalid value for '--seed'"),
    "absent": (["render", "none.json"], "none.json: cannot be read"),
    "info": (["info", "none.mp4"], "none.mp4"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, here, tmp_path):
    arguments, message = BAD[name]
    code, out, error = here(*arguments)
    assert code == 2 and message in error and out == ""
    assert error.startswith("error: ") and error.count("\n") == 1
    assert [str(p) for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        ("{", "not JSON"),
        (json.dumps({"prompt": "a bear", "tracks": [{"phrase": "bear", "boxes": [[0.9, 0, 0.1, 1]]}]}), "reversed"),
        (json.dumps({"prompt": "a bear", "tracks": [{"phrase": "bear", "boxes": [[0, 0, 3, 1]]}]}), "0..1"),
        ('{"prompt": "a bear", "tracks": [{"phrase": "bear", "boxes": [[0, 0, NaN, 1]]}]}', "0..1"),
    ],
)
def test_bad_scene_files(scene, message, here, tmp_path):
    (tmp_path / "s.json").write_text(scene)
    code, _, error = here("render", "s.json")
    assert code == 2 and "s.json" in error and message in error and error.count("\n") == 1
    assert os.listdir(tmp_path) == ["s.json"]


def test_unwritable_output(here, tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    code, _, error = here("make", BEAR)
    assert code == 2 and error.count("\n") == 1 and "cannot be written" in error


@pytest.mark.slow("a process of its own is well into a render before it is interrupted")
def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "animatic", "make", BEAR, "--steps", "900"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # runners may ignore it
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "out").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        worked = psutil.Process(process.pid).cpu_times
        # imports take 5 s, so that this is well into the render, however busy the machine is
        while worked().user < 10 and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, error[-600:]
    assert error.splitlines()[-1].startswith("error: interrupted") and "Traceback" not in error
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_the_bundled_weights_are_small():
    files_ = [p for p in Path(str(files("animatic") / "weights" / "mini")).rglob("*") if p.is_file()]
    grounding, own = (
        sum(p.stat().st_size for p in files_ if ("grounding" in p.parts) is told) for told in (True, False)
    )
    assert 1e6 < own <= 12e6 and 1e6 < grounding <= 3e6


def test_a_story_is_made(here):
    """Text to scenes to one video; a story file; and longer than the model's own."""
    told = ("--steps", "1", "--out", ".", "--json")
    text = "A red ball moves to the right on the grass. Then it stands still."
    code, out, err = here("make", "--story", text, "--method", "ditctrl:chained", *told)
    assert code == 0, err
    made = json.loads(out)
    assert len(Video.load(made["videos"][0])) == 2 * UNNAMED["frames"] and len(load_story(made["scene"])) == 2
    assert here("make", "--story", made["scene"], "--seconds", "6", "--name", "long", "--method", "none", *told)[0] == 0
    assert len(Video.load("long.mp4")) == 6 * UNNAMED["fps"]
    assert here("make", "A red ball", "--seconds", "3", "--name", "three", "--method", "none", *told)[0] == 0
    assert len(Video.load("three.mp4")) == 3 * UNNAMED["fps"]
    for wrong, why in (
        (("A cat", "--story", "A dog"), "make takes a prompt, --prompts FILE, or --story"),
        (("A cat", "--seconds", "0"), "seconds is 0.0 for a story"),
        (("--story", text, "--frames", "8"), "frames is 8; a story lasts the seconds of its scenes; leave it out"),
    ):
        code, _, err = here("make", *wrong, *told)
        assert code == 2 and why in err


def test_an_edit_is_made(here):
    Scene("a red ball on the grass").save("ball.json")
    how = ("--steps", "1", "--out", "out")
    code, out, err = here("edit", "ball.json", "--swap", "ball=star", "--weight", "red=2", *how)
    assert code == 0, err
    assert out.split() == ["out/ball.edit.mp4", "out/ball.edit.beside.mp4"]
    assert here("edit", "out/ball.edit.mp4", "--swap", "star=ball", *how)[0] == 0
    for wrong, why in (
        (("--swap", "dog=cat"), "word 'dog' is not in the prompt"),
        (("--swap", "dog"), "swap is 'dog'; want dog=cat"),
        (("--weight", "red=nan"), "weight of 'red' is nan; want a finite number"),
        (("--weight", "red=much"), "weight of 'red' is 'much'; want a number"),
    ):
        code, _, err = here("edit", "ball.json", *wrong, *how)
        assert code == 2 and why in err
