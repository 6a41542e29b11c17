"""The studio says and does what the command line does: equal frames for the same wish, and no wish without effect."""

import json
import re
import socket
import time

import httpx
import numpy as np
import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from animatic import Scene, Track, Video, load
from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.scene import save_story
from animatic.studio.api import Api, call
from animatic.studio.log import CANCELLED, DONE, FAILED, Refused
from animatic.studio.server import serve
from animatic.studio.work import Limits, Studio

BEAR = Track("bear", ((0.0, 0.3, 0.4, 0.7), (0.6, 0.3, 1.0, 0.7)))
STORY = (
    Scene("a bear walks to the right on the grass", (BEAR,), background="grass", seconds=2.0),
    Scene("a bear walks to the left in the snow", (Track("bear", BEAR.boxes[::-1]),), background="snow", seconds=2.5),
)


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    api = Api(Studio(tmp_path_factory.mktemp("house") / "studio", limits=Limits(frames=32), models=("mini",)))
    yield api
    api.studio.close()


def finished(api, words):
    """A job's status at its end."""
    job = call(api, "render", words)["id"]
    while (status := api.status(job))["state"] not in (DONE, FAILED, CANCELLED):
        time.sleep(0.02)
    return status


def in_studio(api, story, **words):
    """The videos that the studio makes, as they were generated, by method."""
    status = finished(api, {"scene": {"version": 1, "scenes": [_plain(scene) for scene in story]}, **words})
    assert status["state"] == DONE, status["message"]
    return {made["method"]: api.studio.log.video(status["id"], i) for i, made in enumerate(status["files"])}


def _plain(scene):
    return {k: v for k, v in json.loads(scene.to_json()).items() if k != "version"}


def on_command_line(folder, story, *options):
    """What `animatic render` makes, from its lossless file, at the size it was generated in."""
    save_story(story, folder / "story.json")
    with pytest.raises(SystemExit) as end:
        main(
            [
                "render",
                str(folder / "story.json"),
                "--model",
                "mini",
                "--out",
                str(folder),
                "--format",
                "webp",
                *options,
            ]
        )
    assert not end.value.code
    return Video.load(folder / "story.webp").frames[:, ::4, ::4]  # small videos are enlarged four times


def same(a, b):
    """Equal to one level: the same steps in the same process, but nobody promises equal bits of rounded sums."""
    assert a.shape == b.shape
    assert np.abs(a.astype(int) - b).max() <= 1


@pytest.mark.parametrize("method", ["ditctrl", "ditctrl+lvd"])
def test_a_story_has_the_frames_of_the_command_line(method, api, tmp_path):
    made = in_studio(api, STORY, method=method, seed=5, steps=1)
    assert len(made[method]) == 18  # four and a half seconds at four frames: one take, not two clips of eight frames
    same(made[method].frames, on_command_line(tmp_path, STORY, "--method", method, "--seed", "5", "--steps", "1"))
    assert made[method].info["seed"] == 5 and len(made[method].info["story"]["scenes"]) == 2


def test_what_windows_share_is_seen_in_a_story(api):
    """`ditctrl` is not `none`, the fault that was reported; and the masked form is not the plain one."""
    made = in_studio(api, STORY, method="ditctrl", seed=5, steps=3, compare=["none", "ditctrl:masked"])
    frames = [video.frames.astype(int) for video in made.values()]
    assert all(np.abs(a - b).mean() > 0.3 for a, b in zip(frames, (*frames[1:], frames[0]), strict=True))


@pytest.mark.parametrize(
    ("story", "words", "options"),
    [
        (STORY[:1], {"size": "48x64", "frames": 5}, ["--size", "48x64", "--frames", "5"]),
        (STORY[1:], {"steps": 3}, ["--steps", "3"]),  # longer than the model's own clip: in windows, which share
        (STORY[:1], {"scheduler": "euler"}, ["--scheduler", "euler"]),
        (STORY[:1], {"settings": {"guidance.scale": 2}}, ["--guidance", "2"]),
        (STORY[:1], {"method": "lmd", "frames": 1, "settings": {"guidance.scale": 2}},
         ["--method", "lmd", "--frames", "1", "--guidance", "2"]),  # its things are made under that guidance too
        (STORY, {}, []),  # no method named: the same one
    ],
)  # fmt: skip
def test_every_wish_has_the_frames_of_the_command_line(story, words, options, api, tmp_path):
    (made,) = in_studio(api, story, seed=3, **{"steps": 1, **words}).values()
    same(made.frames, on_command_line(tmp_path, story, "--steps", "1", "--seed", "3", *options))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"seed": 2**63}, "seed: Input should be less than"),
        ({"seed": 1e30}, "seed: Input should be a valid integer"),
        ({"seed": float("nan")}, "seed: Input should be a"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"steps": 10**30}, "at most 200 here"),
        ({"frames": -3}, "frames: Input should be greater than or equal to 1"),
        ({"size": "99999x64"}, "size is 99999; at most 1024 here"),
        ({"settings": {"guidance.scale": float("inf")}}, "guidance.scale is inf; want a number, 0 or more"),
        ({"settings": {"guidance.scale": float("nan")}}, "guidance.scale is nan; want a number, 0 or more"),
        ({"scene": {**_plain(STORY[0]), "seconds": 1e300}}, "seconds is 1e+300; at most 60 here"),
        ({"scene": {**_plain(STORY[0]), "seconds": float("inf")}}, "seconds is inf"),
        ({"scene": {**_plain(STORY[0]), "seconds": -1}}, "seconds is -1"),
        ({"scene": {**_plain(STORY[0]), "seconds": 20}}, "scene 1 has 80 frames; at most 32 here"),
        ({"scene": {"scenes": [_plain(s) for s in STORY]}, "frames": 8}, "frames is 8; a story lasts the seconds"),
        ({"then": "x" * 401}, "render: then has 401 letters; at most 400 here"),
        ({"size": "1" * 81}, "render: size has 81 letters; at most 80 here"),
        ({"loras": ["x" * 401]}, "render: loras.0 has 401 letters; at most 400 here"),
        ({"transitions": "x" * 401}, "render: transitions has 401 letters; at most 400 here"),
        ({"transitions": 101}, "render: transitions: Input should be less than or equal to 100; found 101"),
        ({"settings": {"a": "x" * 2001}}, "render: settings.a has 2001 letters; at most 2000 here"),
        ({"steps": "many"}, "render: steps: Input should be a valid integer; found 'many'"),
        ({"foo": 3}, "render: foo: Unexpected keyword argument; found 3"),
        ({"scene": {"prompt": "a bear"}, "attention": True}, "attention maps are of objects, and the scene has none"),
    ],
)
def test_numbers_and_wishes_that_cannot_be(words, message, api):
    with pytest.raises(AnimaticError, match=re.escape(message)) as error:
        call(api, "render", {"scene": _plain(STORY[0]), **words})
    assert isinstance(error.value, Refused) or "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_bad_numbers_over_http_are_one_line(api):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = serve(api, port=port)
    try:
        scene = json.dumps(_plain(STORY[0]))
        for seed in ("-1", "1e400", "NaN", "99999999999999999999999"):
            body = f'{{"scene": {scene}, "seed": {seed}}}'
            answer = httpx.post(f"{running.url.rstrip('/')}/api/render", content=body, timeout=60)
            assert answer.status_code == 400 and "\n" not in answer.json()["error"], (seed, answer.text)
    finally:
        running.app.get_blocks().close(verbose=False)


def test_what_has_no_effect_is_said(api):
    """A method that shares between windows, on a scene without any; one that obeys boxes, without boxes."""
    one = finished(api, {"scene": _plain(STORY[0]), "method": "ditctrl", "steps": 1})
    assert one["state"] == DONE and one["message"].startswith(
        "ditctrl shares between windows, and the scene fits in one"
    )
    other = finished(api, {"scene": {"prompt": "a bear"}, "method": "lvd", "steps": 1})
    assert (
        other["state"] == DONE
        and other["message"] == "lvd needs boxes, and there are none: the video is that of 'none'"
    )
    assert not finished(api, {"scene": _plain(STORY[0]), "method": "lvd", "steps": 1})["message"]


def edited(api, job, **words):
    edit = call(api, "edit", {"id": job, **words})
    while (status := api.status(edit["id"]))["state"] not in (DONE, FAILED, CANCELLED):
        time.sleep(0.02)
    assert status["state"] == DONE, status["message"]
    return status["id"], [api.studio.log.video(status["id"], i).frames for i in range(2)]


def test_an_edit_makes_the_story_again(api):
    """In windows, with its size, guidance and settings; what was not named stays, and an edit can be edited."""
    job = finished(api, {
        "scene": {"scenes": [_plain(s) for s in STORY]}, "method": "ditctrl+lvd", "steps": 1, "seed": 4,
        "size": "48x64", "settings": {"guidance.scale": 2.5, "energy.scale": 7},
    })  # fmt: skip
    made = api.studio.log.video(job["id"], 0)
    first, (after, before) = edited(api, job["id"], swap={"snow": "desert"})
    same(before, made.frames)
    assert after.shape == made.frames.shape and np.abs(after.astype(int) - before).max() > 1
    assert api.status(first)["request"]["story"]["scenes"][1]["prompt"] == "a bear walks to the left in the desert"
    _, (last, again) = edited(api, first, swap={"grass": "beach"})
    same(again, after)  # what the second edit begins with is what the first one showed
    assert np.abs(last.astype(int) - again).max() > 1


def test_a_changed_method_is_edited_as_it_was_made(api, tmp_path, capsys):
    """The command line edits what the studio made with the same settings of the method, which stand in the file."""
    job = finished(api, {"scene": _plain(STORY[0]), "steps": 1, "settings": {"guidance.scale": 2, "energy.scale": 7}})
    video = api.studio.log.file(job["id"], job["files"][0]["mp4"].rpartition("/")[2])
    request = Video.load(video).info["request"]
    assert request["sampling"]["guidance"] == 2 and request["settings"] == {"energy.scale": 7}
    with pytest.raises(SystemExit) as end:
        main(["edit", str(video), "--swap", "bear=cat", "--out", str(tmp_path)])
    assert not end.value.code, capsys.readouterr().err
    made = Video.load(next(p for p in tmp_path.glob("*.mp4") if "beside" not in p.name)).info["request"]
    assert made["settings"] == request["settings"] and made["edits"]
