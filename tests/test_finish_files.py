"""Any file through the stages: what is planned comes out, sound and times are kept, nothing is lost or overwritten."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from test_video_writing import heard_at, with_sound
from tiny import interpolation, x4_folder

from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.finishing.checks import check_plan, planned_shapes, resolved
from animatic.finishing.stage import Shape, StageContext
from animatic.finishing.stages import finish, stage_context, stages_of
from animatic.video import Video, read_info

FAULTS = Path(__file__).parent / "faults" / "videos"


@pytest.fixture(scope="module")
def video():
    frames = np.random.default_rng(0).integers(0, 256, (8, 16, 24, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    return Video(frames[:, :, :64], 4.0, {"prompt": "a red ball", "model": "mini"})


# ---- what a stage plans is what comes out


@pytest.mark.parametrize(
    "then",
    [
        "blend:2", "blend:3:fps=24", "motion:2", "lanczos:1.5", "lanczos:0.3", "interpolate:2:model=MORE",
        "interpolate:3:fps=10:model=MORE", "upscale", "upscale:4", "upscale:2:model=mini-upscale",
        "refine:0.3:model=mini:steps=2",
        "refine:0.3:model=mini:steps=2:width=50:height=36", "extend:2:steps=2:window=4", "extend:1:steps=2:known=2",
    ],
)  # fmt: skip
def test_stages_make_what_they_plan(then, video, tmp_path):
    clip = Video(video.frames[:4, :, :], 4.0, video.info)
    if "MORE" in then:
        then = then.replace("MORE", str(interpolation(tmp_path / "more")))
    stages = stages_of(then)
    shape = planned_shapes(Shape.of(clip), resolved(stages, "mini"))[-1]
    assert Shape.of(finish(clip, stages, stage_context(clip, "", 0))) == shape


def test_an_upscaler_s_own_factor_is_planned(video, tmp_path):
    """Stable Diffusion's makes four times the size, LaVie's too, whichever way they are chosen."""
    clip = Video(video.frames[:2, :16, :24], 4.0)
    x4 = f"upscale:model={x4_folder(tmp_path / 'x4')}"
    shape = planned_shapes(Shape.of(clip), stages_of(x4))[-1]
    assert shape == Shape(2, 64, 96, 4.0) == Shape.of(finish(clip, stages_of(x4), StageContext()))
    assert planned_shapes(Shape.of(clip), stages_of("upscale:model=sd-x4"))[-1] == shape
    assert planned_shapes(Shape.of(clip), resolved(stages_of("upscale"), "mini"))[-1] == Shape(2, 32, 48, 4.0)


# ---- times and sound


def test_every_given_frame_stays_at_its_time():
    """Twice 29.97 is 59.94 frames a second; the last has none after it."""
    source = Video.load(FAULTS / "2997.mp4")
    for then, factor in (("blend:2", 2), ("motion:3", 3)):
        made = finish(source, stages_of(then), StageContext())
        assert made.fps == pytest.approx(factor * 30000 / 1001, rel=1e-12) and len(made) == 29 * factor + 1
        assert np.array_equal(made.frames[::factor], source.frames)


def test_sound_goes_through_the_stages(tmp_path):
    source = Video.load(with_sound(tmp_path / "v.mp4", "aac"))
    lines: list[str] = []
    for _ in range(2):  # made, then taken up
        made = finish(source, stages_of("blend:2,lanczos:2"), StageContext(), tmp_path / "kept", watch=lines.append)
        assert heard_at(made.save(tmp_path / "made.mp4"))[1] == pytest.approx(1, abs=0.03)
    assert "taken up" in lines[-1] and not any("left out" in line for line in lines)

    slower = finish(source, stages_of("blend:2:fps=24"), StageContext(), watch=lines.append)
    assert slower.sound is None and slower.fps == 24
    assert "blend: the sound is left out, for the frames are no longer at their times" in lines
    assert finish(source, stages_of("blend:2:fps=16"), StageContext()).sound is not None


# ---- memory


def test_a_plan_too_large_is_refused_before_the_video_is_decoded(here, monkeypatch):
    """20 s of 1080p by its metadata: 8 GB in and out."""
    monkeypatch.setattr("animatic.media.ffmpeg.read", lambda *_: pytest.fail("was decoded"))
    code, _, error = here("finish", str(FAULTS / "audio.mp4"), "--then", "lanczos:2", "--memory", "1MB")
    assert code == 2 and error == (
        "error: lanczos to 16 frames of 192 x 128 needs about 1.4 MB, 1.0 MB are free; "
        "no setting would fit: want a smaller target\n"
    )
    shape = Shape(600, 1080, 1920, 30.0)
    with pytest.raises(AnimaticError, match=r"blend to 1199 frames of 1920 x 1080 needs about 10\.4 GB, 7\.0 GB are"):
        check_plan(shape, stages_of("blend:2"), StageContext(), 7 * 2**30)
    check_plan(shape, stages_of("blend:2"), StageContext(), 11 * 2**30)
    with pytest.raises(AnimaticError, match=r"lanczos: factor is 0\.0001; nothing would be left"):
        check_plan(shape, stages_of("blend:2,lanczos:0.0001"), StageContext(), 99 * 2**30)


@dataclass(frozen=True)
class Free:
    available: int


def test_what_is_loaded_already_is_not_asked_for_twice(monkeypatch):
    """A clip of 1 GB: a stage that makes another needs 2 before it is loaded, 1 more after; the next holds it, too."""
    shape = Shape(341, 1024, 1025, 8.0)
    same, twice = stages_of("lanczos:1"), stages_of("lanczos:1,lanczos:1")
    for stages, loaded, enough in ((same, False, 2.1), (same, True, 1.1), (twice, False, 3.1), (twice, True, 2.1)):
        monkeypatch.setattr("psutil.virtual_memory", lambda enough=enough: Free(int(enough * 2**30)))
        check_plan(shape, stages, StageContext(), loaded=loaded)
        monkeypatch.setattr("psutil.virtual_memory", lambda enough=enough: Free(int((enough - 0.2) * 2**30)))
        with pytest.raises(AnimaticError, match="lanczos to 341 frames of 1025 x 1024 needs about"):
            check_plan(shape, stages, StageContext(), loaded=loaded)


# ---- names


def test_results_are_not_overwritten(here, tmp_path):
    """clip.gif and clip.mp4; the same again; other settings; a picture of somebody else's."""
    source = Video.load(FAULTS / "audio.mp4")
    for suffix in (".mp4", ".gif"):
        source.save(tmp_path / f"clip{suffix}", scale=1)

    def finished(name: str, *more: str) -> tuple[str, str]:
        """(name of the result, what was said)"""
        then = ("--then", "lanczos:0.5", "--out", str(tmp_path / "o"), "--json")
        code, out, error = here("finish", str(tmp_path / name), *then, *more)
        assert code == 0, error
        return Path(json.loads(out)["video"]).name, " ".join(json.loads(out)["notes"])

    assert finished("clip.mp4")[0] == "clip.finished.mp4"
    assert finished("clip.gif")[0] == "clip.finished-2.mp4"
    before = {file.name: file.read_bytes() for file in (tmp_path / "o").iterdir()}
    name, said_so = finished("clip.gif")
    assert name == "clip.finished-2.mp4" and "taken up" in said_so
    assert {file.name: file.read_bytes() for file in (tmp_path / "o").iterdir()} == before
    assert "clip.finished.mp4 is another result and stays as it is" in said_so
    assert finished("clip.mp4", "--seed", "5")[0] == "clip.finished-3.mp4"

    (tmp_path / "o" / "mine.mp4").write_bytes(b"no video of ours")
    assert finished("clip.mp4", "--name", "mine")[0] == "mine-2.mp4"
    assert (tmp_path / "o" / "mine.mp4").read_bytes() == b"no video of ours"


def test_sound_left_out_is_said(here, tmp_path):
    then = ("--then", "lanczos:0.5", "--format", "gif", "--out", str(tmp_path))
    code, out, error = here("finish", str(FAULTS / "audio.mp4"), *then)
    assert code == 0 and "gif holds no sound: it is left out; mp4 and mkv keep it" in out + error


def test_damage_is_said_once_and_not_passed_on(tmp_path):
    whole = Video(np.random.default_rng(0).integers(0, 256, (32, 32, 48, 3), np.uint8)).save(
        tmp_path / "w.mkv", scale=1
    )
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = Video.load(tmp_path / "cut.mkv")
    assert source.info["damage"].startswith(f"{tmp_path}/cut.mkv: {len(source)} of ")
    made = finish(source, stages_of("lanczos:2"), StageContext()).save(tmp_path / "made.mkv", scale=1)
    assert "damage" not in read_info(made)


# ---- models that cannot


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (
            "interpolate:2:model=mini",
            "mini does not interpolate; want motion:2 without a network, interpolate:model=lavie-int",
        ),
        ("interpolate:2:model=mini-upscale", "mini-upscale does not interpolate"),
        ("upscale:2:model=mini", "mini does not upscale; want"),
        ("extend:1:model=mini-upscale", "mini-upscale cannot extend; want a model that makes video from words"),
        ("refine:0.5:model=mini-upscale", "mini-upscale cannot refine; want a model of video or of pictures"),
    ],
)
def test_a_stage_by_the_wrong_model(then, message, video):
    with pytest.raises(AnimaticError, match=message):
        finish(video, stages_of(then), stage_context(video, "", 0))


@pytest.mark.parametrize("seed", ["-1", str(2**70)])
def test_a_seed_that_no_generator_takes_is_refused(tmp_path, capsys, seed):
    with pytest.raises(SystemExit) as end:
        main(["finish", str(FAULTS / "p64.mp4"), "--then", "blend:2", "--seed", seed, "--out", str(tmp_path)])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: seed is {seed}; want a whole number from 0 to 9223372036854775807\n"
