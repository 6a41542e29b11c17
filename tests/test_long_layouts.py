"""LMD and MultiDiffusion in windows: one window is the plain run, several hold each object at its place and time."""

import json
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close, close_frames

from animatic.backbones import load
from animatic.controls.composition import Composition
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.masks import AttentionMask
from animatic.controls.object_runs import object_groups
from animatic.controls.regions import Regions
from animatic.controls.terms import BoxEnergy
from animatic.controls.windows import Windows
from animatic.core.loop import sample
from animatic.generation import encode_stories
from animatic.methods import TRANSFORMER, method_named
from animatic.rendering import render
from animatic.scene import Scene, Track
from animatic.timeline import timeline_of

LEFT, RIGHT = (0.0, 0.1, 0.5, 0.9), (0.5, 0.1, 1.0, 0.9)
PAIR = Scene("a cat and a dog", (Track("cat", (LEFT, RIGHT)), Track("dog", (RIGHT, LEFT))))
BEAR = Scene("the red bear", (Track("bear", (RIGHT, LEFT)),))
METHODS = ("lmd", "boxdiff", "backward-guidance", "multidiffusion")
FAMILIES = ("unet3d", "cogvideox-2b", "cogvideox-5b", "cogvideox-1.5", "wan-2.1", "wan-ti2v", "wan-a14b")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Every family of video models at 32 x 48, loaded when it is first asked for."""
    root, loaded = tmp_path_factory.mktemp("models"), {}
    folders = {
        "unet3d": lambda path: tiny.folder(path, tiny.unet3d()),
        "cogvideox-2b": tiny.cogvideox,
        "cogvideox-5b": lambda path: tiny.cogvideox(path, rotary=True),
        "cogvideox-1.5": lambda path: tiny.cogvideox(path, pairs=True),
        "wan-2.1": tiny.wan,
        "wan-ti2v": lambda path: tiny.wan(path, each_token=True),
        "wan-a14b": lambda path: tiny.wan(path, second=True),
    }
    frames = {"unet3d": 4, "cogvideox-1.5": 17}

    def model(name):
        if name not in loaded:
            folder = folders[name](root / name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded[name] = load(str(folder), "cpu")
            geometry = loaded[name].geometry
            loaded[name].geometry = replace(geometry, frames=frames.get(name, 9), height=32, width=48)
        return loaded[name]

    return model


def lasting(scene, model, clips):
    """The scene, so many times as long as the model's own clip."""
    return replace(scene, seconds=clips * model.geometry.frames / model.geometry.fps)


def moved(model, story, method):
    """How far a method moves each frame from that of the model alone, in levels of 255."""
    frames = [render(story, model, name, steps=2, guidance=3.0).frames.astype(int) for name in (method, "none")]
    return np.abs(frames[0] - frames[1]).mean((1, 2, 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_works_in_one_clip_a_long_one_and_a_story(models, family, method):
    """Every frame differs from the model's own: no window, and no part of a story, is left out."""
    model = models(family)
    situations = (
        (lasting(PAIR, model, 1.0),),
        (lasting(PAIR, model, 2.5),),
        (lasting(PAIR, model, 1.5), lasting(BEAR, model, 1.5)),
    )
    for story in situations:
        change = moved(model, story, method)
        assert change.min() > 0.01, (len(story), change)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["unet3d", "cogvideox-1.5", "wan-a14b"])
def test_one_window_is_the_plain_run(models, family, method):
    """A clip that fits in one window is the same with windows as without."""
    model = models(family)
    scene = lasting(PAIR, model, 1.0)
    plain, windowed = (
        render(scene, model, method, steps=3, guidance=3.0, windowed=windowed) for windowed in (False, True)
    )
    assert close_frames(windowed.frames, plain.frames)


def timeline(model, story=(PAIR, BEAR)):
    return timeline_of(tuple(lasting(scene, model, 1.5) for scene in story), model.geometry)


def run(model, shown, controls, steps=3):
    """Clean latents of a timeline under controls, outermost first, and its windows."""
    noise = model.noise([0], 40, 32, 48, windowed=True)[:, :, : shown.plan.frames]
    cond = encode_stories([shown.scenes], model)
    return sample(model, model.schedule(steps), noise, cond, [*controls, Windows()], scenes=[shown], guidance=2.0)


@pytest.mark.parametrize("family", ["unet3d", "cogvideox-2b"])
def test_an_objects_words_change_its_cells_alone(models, family):
    """At the first step predictions are put together by masks: elsewhere nothing changes.

    The first object of the scene before shares its region: it hears the words in windows between the two scenes.
    """
    model = models(family)
    shown = timeline(model)
    made = []
    for words in ("bear", "dog"):
        second = replace(shown.scenes[1], tracks=(replace(BEAR.tracks[0], prompt=words),))
        other = replace(shown, scenes=(shown.scenes[0], second))
        made.append(run(model, other, [Regions(0.0), Guidance()], steps=1))
    change = (made[0] - made[1])[0].abs().amax(0)  # [frame, height, width]
    frames, height, width = change.shape
    cat, dog, bear = torch.from_numpy(shown.masks(frames, height, width))
    assert bear.any() and (change[bear] > 0).all() and (change[~(bear | (cat & ~dog))] == 0).all()
    between = [window.first for window in shown.plan.windows if len(window.prompt_weights) > 1]
    assert (change[: min(between)] == 0).all()


def test_the_surroundings_hear_the_prompt_of_their_scene(models):
    """Without a background the prompt stands for it, in its own scene."""
    model = models("unet3d")
    made = []
    for prompt in ("the red bear", "the red bear on grass"):
        made.append(run(model, timeline(model, (PAIR, replace(BEAR, prompt=prompt))), [Regions(0.0), Guidance()], 1))
    change = (made[0] - made[1])[0].abs().amax((0, 2, 3))  # [frame]
    assert change[-1] > 0 and change[0] == 0, "a window of the first scene alone has not heard of the second"


def composition(**settings) -> Composition:
    energy = Energy(BoxEnergy(), scale=100.0, until=0.4, iterations=1)
    return Composition(energy, (Guidance(), energy), mask=AttentionMask(), **settings)


@pytest.mark.parametrize("family", ["unet3d", "cogvideox-2b", "cogvideox-1.5"])
def test_objects_are_held_at_their_places_and_times(models, family):
    """Where objects are composited is where the boxes of each frame are, near enough for eighths of the canvas."""
    model = models(family)
    shown = timeline(model)
    begun = []

    @dataclass
    class Spy(Composition):
        def begin(self, run):
            begun.append(super().begin(run))
            return begun[0]

    plain = composition()
    run(model, shown, [Guidance(), Spy(plain.energy, plain.object_controls)])
    cover = begun[0]._latents.cover[0]
    frames, height, width = cover.shape
    boxes = torch.from_numpy(shown.masks(frames, height, width))
    border = round(shown.plan.edges[1] * frames)
    for part, tracks in ((slice(0, border), boxes[:2]), (slice(border, None), boxes[2:])):
        there = tracks.any(0)[part]
        assert cover[part].any((1, 2)).all(), "an object in every frame"
        assert (cover[part] & ~there).sum() <= 0.5 * cover[part].sum()
    held = begun[0]._latents.levels[1][0, 0]
    assert (held[cover] != 0).all() and (held[~cover] == 0).all()


def test_objects_are_generated_in_the_windows_of_their_scene(models):
    """A scene's objects are one batch, in the frames of the windows that show it, their boxes as they were."""
    model = models("unet3d")
    shown = timeline(model)
    frames = shown.plan.frames
    first, second = object_groups([shown], frames)
    assert first.objects == ((0, 0), (0, 1)) and second.objects == ((0, 2),)
    whole = shown.at(frames)
    for group in (first, second):
        assert group.plan.frames == group.count <= frames
        assert {window.first + group.frames.start for window in group.plan.windows} <= {
            window.first for window in shown.plan.windows
        }
        for (_, track), placed in zip(group.objects, group.placed, strict=True):
            boxes = whole.tracks[track].boxes
            assert placed.tracks[0].boxes == boxes[group.frames]
            outside = boxes[: group.frames.start] + boxes[group.frames.stop :]
            assert not any(outside), "no frame in which it is present is left out"
    assert first.frames.start == 0 and second.frames.stop == frames and second.frames.start > 0


def test_rows_of_a_batch_of_stories_are_composed_apart(models):
    """Two stories at once equal two runs."""
    model = models("unet3d")
    stories = [timeline(model), timeline(model, (BEAR, PAIR))]
    noise = model.noise([0, 0], 40, 32, 48, windowed=True)[:, :, : stories[0].plan.frames]
    for controls in ([Guidance(), composition()], [Regions(0.4), Guidance()]):
        made = []
        for rows in ([0], [1], [0, 1]):
            shown = [stories[row] for row in rows]
            cond = encode_stories([each.scenes for each in shown], model)
            made.append(
                sample(model, model.schedule(3), noise[rows], cond, [*controls, Windows()], scenes=shown, guidance=2.0)
            )
        assert close(made[2], torch.cat(made[:2]), 8 * RUN)


def test_a_setting_of_a_transformer_is_its_own(models):
    """Layers that are set for a model replace those of its architecture."""
    model = models("cogvideox-2b")
    assert method_named("boxdiff").key_of(model) == TRANSFORMER
    scene = lasting(PAIR, model, 1.0)
    one, every = (
        render(scene, model, "boxdiff", steps=2, settings=settings)
        for settings in ({"energy.layers": "transformer_blocks.0.*"}, {})
    )
    assert not close_frames(one.frames, every.frames)
    assert "transformer_blocks.0.*" in json.dumps(one.info)
