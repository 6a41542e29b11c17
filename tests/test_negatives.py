"""Negative prompts and seeds belong to their row: each scene's own, in a batch, a story, and a batch of stories."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from conftest import close

from animatic.backbones import load
from animatic.controls.guidance import ZeroNegative
from animatic.core.control import Run
from animatic.generation import encode
from animatic.rendering import render, render_batch
from animatic.scene import Scene

LEVEL = 1  # of 255
HOW = {"steps": 2, "guidance": 9.0}
SCENES = [
    Scene("a red ball", negative="blue", seconds=1.0),
    Scene("a red ball", negative="green grass", seconds=1.0),
    Scene("a red ball", seconds=1.0),
]


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())))


@pytest.fixture(scope="module")
def cogvideox(tmp_path_factory):
    return load(str(tiny.cogvideox(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def unet3d(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


def apart(a, b):
    """The most grey levels between two videos."""
    return int(np.abs(a.frames.astype(int) - b.frames.astype(int)).max())


def test_the_text_is_the_scenes_then_the_requests_or_the_models(image):
    """A request's negative prompt stands in place of the model's own; the scene's own goes before either."""
    scene = Scene("a cat", negative="dog", seconds=0)
    model = load(str(image.reference))
    model.defaults = replace(model.defaults, negative="blurry")
    how = {"steps": 1, "size": (32, 32)}
    for given, text in ((None, "dog, blurry"), ("red", "dog, red"), ("", "dog")):
        video = render(scene, model, "none", negative=given, **how)
        assert video.info["negative_text"] == text
    assert render(replace(scene, negative=""), model, "none", **how).info["negative_text"] == "blurry"


def test_each_row_is_conditioned_on_its_own(mini):
    cond = encode(SCENES, mini)
    texts = [mini.defaults.negative_text(scene.negative) for scene in SCENES]
    for branch, text in zip(cond.branches, cond.text, strict=True):
        want = texts[branch.sample] if branch.negative else SCENES[branch.sample].prompt
        assert close(text, mini.text([want])[0])


@pytest.mark.parametrize("method", ["none", "ditctrl"])
def test_a_batch_of_different_negatives_and_seeds_is_each_alone(mini, method):
    batch = render_batch(SCENES, mini, method, [4, 4, 6], **HOW)
    for made, scene, seed in zip(batch, SCENES, [4, 4, 6], strict=True):
        assert apart(made, render(scene, mini, method, seed, **HOW)) <= LEVEL
    assert apart(batch[0], batch[1]) > LEVEL, "the same prompt and seed under another negative prompt"


def test_a_storys_scenes_have_their_own(unet3d):
    """The second scene's changes the windows of the second scene alone."""
    how = {"steps": 2, "guidance": 9.0, "size": (16, 16), "overlap": 0.0}
    seconds = unet3d.geometry.frames / unet3d.geometry.fps
    (plain, first, second) = (
        render(tuple(Scene("a cat", negative=n, seconds=seconds) for n in negatives), unet3d, "none", 1, **how)
        for negatives in (("", ""), ("dog", ""), ("", "dog"))
    )
    half = unet3d.geometry.frames

    def changes(a, b, frames):
        return int(np.abs(a.frames[frames].astype(int) - b.frames[frames].astype(int)).max())

    assert changes(first, plain, slice(half)) > LEVEL
    assert changes(first, plain, slice(half, None)) <= LEVEL
    assert changes(second, plain, slice(half)) <= LEVEL
    assert changes(second, plain, slice(half, None)) > LEVEL


def test_a_batch_of_stories_is_each_alone(unet3d):
    how = {"steps": 2, "guidance": 9.0, "size": (16, 16)}
    seconds = unet3d.geometry.frames / unet3d.geometry.fps
    stories = [
        tuple(Scene("a cat", negative=n, seconds=seconds) for n in negatives)
        for negatives in (("dog", ""), ("", "red"))
    ]
    batch = render_batch(stories, unet3d, "none", [1, 2], **how)
    for made, shown, seed in zip(batch, stories, [1, 2], strict=True):
        assert apart(made, render(shown, unet3d, "none", seed, **how)) <= LEVEL


def test_zeros_stand_for_a_missing_negative_of_each_row(cogvideox):
    """CogVideoX's own: one row's negative prompt is no reason to encode an empty text for another."""
    scenes = [Scene("a cat", negative="a dog"), Scene("a cat"), Scene("a cat", negative="red")]
    cond = encode(scenes, cogvideox)
    run = Run(cogvideox, cogvideox.schedule(4), cogvideox.noise([0, 1, 2], 9, 32, 48), cond, scenes=scenes)
    step = next(iter(run.schedule))
    text = ZeroNegative().begin(run).condition(cond, step).text
    zeros = [not bool(row.any()) for row in text]
    assert zeros == [False, True, False, False, False, False]
    kept = torch.tensor([not zero for zero in zeros])
    assert torch.equal(text[kept], cond.text[kept])
