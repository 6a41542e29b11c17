"""Scenes to videos: what the caller asks for is what is made, recorded and repeatable."""

import json

import numpy as np
import pytest
import tiny
from conftest import close_frames

import animatic
from animatic.controls.guidance import Guidance
from animatic.controls.watching import Progress
from animatic.errors import AnimaticError
from animatic.methods import method_named
from animatic.scene import Scene, Track, parse

CAT = Scene("a cat", (Track("cat", ((0, 0, 0.4, 0.4), (0.6, 0, 1, 0.4))),), background="forest", seconds=1.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return animatic.load(str(tiny.folder(tmp_path_factory.mktemp("tiny") / "tiny", tiny.unet3d())))


def test_what_is_asked_is_what_is_made(model):
    video = animatic.render(CAT, model, "lvd", 3, steps=3, guidance=2.0, frames=3, size=(64, 32), scheduler="dpm++")
    assert video.frames.shape == (3, 32, 64, 3) and video.fps == 2.0
    info = video.info
    assert (info["prompt"], info["seed"], info["steps"], info["method"], info["model"]) == (
        "a cat",
        3,
        3,
        "lvd",
        "tiny",
    )
    assert (
        info["scheduler"] == "DPMSolverMultistepScheduler"
        and "Guidance(scale=2.0," in info["controls"]
        and "Energy(" in info["controls"]
    )
    assert parse(info["scene"]) == CAT and set(info["versions"]) >= {"animatic", "torch", "diffusers"}
    json.dumps(dict(info))


def test_the_same_seed_is_the_same_video(model):
    """To the last bit in one process: the same weights, shapes and order of sums."""

    def made(seed: int, method: str = "none") -> np.ndarray:
        return animatic.render(CAT, model, method, seed, steps=2, frames=2).frames

    assert np.array_equal(made(1), made(1)) and not np.array_equal(made(1), made(2))
    assert np.array_equal(made(1, "lvd"), made(1, "lvd")) and not np.array_equal(made(1, "lvd"), made(1))


def test_stills_and_batches(model):
    still = Scene("a cat", seconds=0)
    one, two = animatic.render_batch([still, still], model, "none", [1, 2], steps=2)
    assert len(one) == len(two) == 1 and (one.info["seed"], two.info["seed"]) == (1, 2)
    assert close_frames(two.frames, animatic.render(still, model, "none", 2, steps=2).frames)
    with pytest.raises(AnimaticError, match="1 seeds for 2 scenes"):
        animatic.render_batch([still, still], model, "none", [1], steps=2)


def test_a_list_of_controls_is_a_method(model):
    mine = [Guidance(3.0)]
    info = animatic.render(CAT, model, mine, steps=2, frames=2, guidance=2.0).info
    assert "Guidance(scale=3.0," in info["controls"] and info["method"] == "controls: Guidance"
    ticks = []
    animatic.render(CAT, model, mine, steps=2, frames=2, callbacks=[Progress(lambda *t: ticks.append(t))])
    assert ticks == [(0, 2), (1, 2), (2, 2)]


def test_unknown_names(model):
    with pytest.raises(AnimaticError, match="unknown method 'magic'; known: none, lvd"):
        method_named("magic")
    with pytest.raises(AnimaticError, match="unknown scheduler 'warp'"):
        animatic.render(CAT, model, "none", steps=2, scheduler="warp")
    with pytest.raises(AnimaticError, match="frames is 2000"):
        animatic.render(CAT, model, "none", steps=2, frames=2000)
    with pytest.raises(AttributeError):
        _ = animatic.nothing
