"""How long clips last: at their model's rate, or the one asked for; what is otherwise is said."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny

import animatic
from animatic.backbones import PRESETS
from animatic.benchmarks.generate import JobRenderer
from animatic.benchmarks.jobs import Job, RunSettings
from animatic.cli import main
from animatic.core.backbone import Geometry
from animatic.durations import at_rate, frame_rate, length_note
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.generation import generate
from animatic.rendering import render, request_of
from animatic.request import GenerationRequest
from animatic.scene import Scene
from animatic.video import Video

CAT = Scene("a cat", seconds=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CogVideoX of 9 frames at 8 a second: 1.125 s."""
    return tiny.cogvideox(tmp_path_factory.mktemp("cog") / "cog")


@pytest.fixture(scope="module")
def model(folder):
    return animatic.load(str(folder), "cpu")


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """Runs a command in an empty folder; returns (exit code, its JSON, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--steps", "1", "--method", "none", "--json"])
        out, err = capfd.readouterr()
        return ended.value.code, json.loads(out) if out else {}, err

    return run


@pytest.mark.parametrize(
    ("name", "frames", "fps"),
    [  # the cards of the models, and what their pipelines export at
        ("modelscope", 16, 8), ("zeroscope", 24, 8), ("zeroscope-xl", 24, 8), ("modelscope-gligen", 16, 8),
        ("cogvideox-2b", 49, 8), ("cogvideox-5b", 49, 8), ("cogvideox1.5-5b", 81, 16), ("wan2.1-1.3b", 81, 16),
        ("wan2.1-14b", 81, 16), ("wan2.2-a14b", 81, 16), ("wan2.2-5b", 121, 24),
    ],
)  # fmt: skip
def test_presets_have_their_models_rates(name, frames, fps):
    geometry = PRESETS[name].geometry
    assert (geometry.frames, geometry.fps) == (frames, fps)


@pytest.mark.parametrize(
    ("frames", "fps", "seconds", "wanted"),
    [
        (None, None, 2.0, 8.0),  # the model's own, not 49 / 2
        (None, None, 6.0, 8.0),
        (None, 16.0, 2.0, 16.0),
        (8, None, 2.0, 4.0),  # frames fill the seconds that were asked for
        (8, 16.0, 2.0, 16.0),
        (None, None, 0.0, 8.0),  # a still
        (1, None, 5.0, 0.2),  # a picture shown for so long
    ],
)
def test_rates(frames, fps, seconds, wanted):
    geometry = Geometry(49, 480, 720, fps=fps or 8.0)
    assert frame_rate(replace(CAT, seconds=seconds), geometry, frames, fps) == wanted


@pytest.mark.parametrize(
    ("frames", "fps", "seconds", "said"),
    [
        (None, None, 49 / 8, ""),
        (None, None, 6.0, ""),  # within a frame
        (None, None, 2.0, "scene 'a cat' lasts 6.12 s, not 2 s: m makes 49 frames at 8 a second; a number of frames "),
        (None, None, 30.0, "scene 'a cat' lasts 6.12 s, not 30 s: m makes 49 frames at 8 a second; a story, in win"),
        (8, None, 2.0, ""),
        (8, 8.0, 2.0, ""),  # all that decides was given
        (None, None, 0.0, ""),
    ],
)
def test_what_lasts_otherwise_is_said(frames, fps, seconds, said):
    model = SimpleNamespace(name="m", geometry=Geometry(49, 480, 720, fps=fps or 8.0))
    note = length_note(replace(CAT, seconds=seconds), model, frames, fps)
    assert note.startswith(said) and bool(note) == bool(said)


def test_python_says_what_lasts_otherwise(model):
    with pytest.warns(AnimaticWarning, match="scene 'a cat' lasts 1.12 s, not 2 s: cog makes 9 frames at 8 a second"):
        video = render(CAT, model, "none", steps=1, windowed=False)
    assert (len(video), video.fps) == (9, 8.0)
    assert len(render(CAT, model, "none", steps=1)) == 13  # in windows, of 4 latent frames


def test_a_rate_that_was_asked_for_is_kept_and_made_again(model):
    with pytest.warns(AnimaticWarning, match="lasts 0.562 s, not 2 s"):
        video = render(CAT, model, "none", steps=1, fps=16, windowed=False)
    assert (len(video), video.fps, model.geometry.fps) == (9, 16.0, 8.0)  # the loaded model stays as it was
    request = GenerationRequest.of(video.info, "it")
    assert (request.sampling.frames, request.sampling.fps) == (9, 16.0)
    again = generate(request, model)
    assert again.fps == 16.0

    story = (replace(CAT, seconds=1.125), replace(CAT, prompt="a dog", seconds=1.125))
    slow, fast = (render(story, model, "none", steps=1, fps=fps) for fps in (None, 16))
    assert (slow.fps, fast.fps, fast.request.sampling.fps) == (8.0, 16.0, 16.0)
    assert len(fast) / 16 == pytest.approx(len(slow) / 8, abs=4 / 8)  # as long, to a latent frame, of more frames


@pytest.mark.parametrize("fps", [0, -1, 1000, "8", True, float("nan")])
def test_rates_that_are_none_are_refused(model, fps):
    with pytest.raises(AnimaticError, match="fps is"):
        at_rate(model, fps)


@pytest.mark.parametrize(
    ("options", "count", "fps", "said"),
    [
        ((), 9, 8, ""),
        (("--fps", 16), 9, 16, ""),  # the scene was planned to last as the clip does
        (("--frames", 5), 5, 8, ""),
        (("--seconds", 0.5), 9, 8, "note: scene 'a cat' lasts 1.12 s, not 0.5 s: cog makes 9 frames"),
        (("--seconds", 0.5, "--frames", 5), 5, 10, ""),
        (("--seconds", 2.125), 13, 8, ""),  # in windows, of 4 latent frames
        (("--seconds", 1.0625, "--fps", 16), 13, 16, ""),
    ],
)
def test_make_plays_at_the_models_rate(here, folder, options, count, fps, said):
    code, out, err = here("make", "a cat", "--model", folder, *options)
    assert code == 0 and (said in err) and (bool(said) == ("not 0.5 s" in err)), err
    video = Video.load(out["videos"][0])
    assert (len(video), video.fps) == (count, fps)


def test_a_scene_file_says_how_long_it_wanted_to_be(here, folder, tmp_path):
    CAT.save(tmp_path / "cat.json")
    code, out, _ = here("render", "cat.json", "--model", folder)  # 2 s are two windows
    video = Video.load(out["videos"][0])
    assert code == 0 and video.fps == 8 and len(video) == 13
    replace(CAT, seconds=0.5).save(tmp_path / "short.json")
    code, out, err = here("render", "short.json", "--model", folder)
    assert "scene 'a cat' lasts 1.12 s, not 0.5 s" in err and Video.load(out["videos"][0]).fps == 8


def test_stories_play_at_the_models_rate(here, folder):
    story = ("make", "--story", "A cat runs. Then a dog sits.", "--model", folder)
    code, out, err = here(*story)
    assert code == 0, err
    slow = Video.load(out["videos"][0])
    _, out, _ = here(*story, "--fps", "16", "--name", "fast")
    fast = Video.load(out["videos"][0])
    assert (slow.fps, fast.fps) == (8, 16) and len(slow) == len(fast)  # each scene as long as the model's clip


def test_benchmarks_play_at_the_models_rate(folder, recwarn):
    """A plan lasts 2 s; the model's clip 1.125 s at 8 frames a second, or what is asked for at the same rate."""
    settings = RunSettings("b", "", "video", "rules", request_of((), str(folder), "none", 0, steps=1))
    for frames, wanted in ((None, 9), (5, 5)):
        for plan in (CAT, None):
            maker = JobRenderer(replace(settings, request=settings.request.with_sampling(frames=frames)))
            (video,) = maker._render([Job(0, 0, "task", "a cat", ("cat",), 0, plan)])
            assert (len(video), video.fps) == (wanted, 8)
    assert not [w for w in recwarn if "lasts" in str(w.message)]
