"""Guidance by attention on every kind of transformer: the energy falls, and saved memory leaves its gradients alone."""

import warnings
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import tiny
import torch
from conftest import close

from animatic.backbones import load
from animatic.controls.energy import Energy
from animatic.controls.terms import BoxEnergy
from animatic.core.attention import fused_attention
from animatic.core.control import Run
from animatic.core.types import AttentionMapRequest, Step
from animatic.scene import Scene, Track

SCENE = Scene("the cat and a dog", (Track("cat", ((0, 0, 1 / 3, 0.5),) * 3),))
VIDEO, PICTURE = (9, 32, 48), (1, 64, 48)
ITERATIONS = 4


class Recorded:
    """An energy that keeps its values."""

    every_word = False

    def __init__(self):
        self.values = []

    def __call__(self, found, targets, step):
        self.values.append(BoxEnergy()(found, targets, step))
        return self.values[-1]


@pytest.mark.parametrize(
    ("make", "size", "scale"),
    [
        (tiny.cogvideox, VIDEO, 20),
        (partial(tiny.cogvideox, rotary=True), VIDEO, 20),
        (partial(tiny.cogvideox, pairs=True), VIDEO, 20),
        (tiny.wan, VIDEO, 20),
        (tiny.sd3, PICTURE, 20),
        (tiny.hunyuan, VIDEO, 5),
        (tiny.ltx, VIDEO, 5),
    ],
    ids=["cogvideox-2b", "cogvideox-5b", "cogvideox1.5", "wan", "sd3", "hunyuan", "ltx"],
)
def test_layout_energy_lowers_its_own_energy(tmp_path, make, size, scale):
    model = load(str(make(tmp_path / "m")), "cpu")
    x, cond, energy = model.noise([0], *size), model.encode([SCENE.prompt], [""]), Recorded()
    schedule = model.schedule(4)
    run = Run(model, schedule, x, scenes=[SCENE])
    control = Energy(energy, scale=scale, until=0.5, iterations=ITERATIONS).begin(run)
    with torch.no_grad():
        control.steer(lambda x, step, cond: model(x, step, cond, fused_attention), x, next(iter(schedule)), cond)
    assert len(energy.values) >= ITERATIONS
    assert all(after < before for before, after in pairwise(energy.values)), energy.values


@pytest.mark.parametrize(
    ("make", "size", "tokens"),
    [
        (tiny.sd3, PICTURE, (1, 80)),  # of CLIP's part of the text, and of T5's
        (tiny.hunyuan, VIDEO, (4, 5)),
        (tiny.ltx, VIDEO, (1, 2)),
    ],
    ids=["sd3", "hunyuan", "ltx"],
)
def test_gradients_survive_checkpointing_and_an_early_end(tmp_path, make, size, tokens):
    model = load(str(make(tmp_path / "m")), "cpu")
    x, cond = model.noise([0], *size), model.encode([SCENE.prompt], [""]).positive
    first, step = model.hooks.text_layers[0], Step(0, 4, 900.0, noise=0.9)

    def gradient(only):
        request, leaf = AttentionMapRequest(torch.tensor([tokens]), (first,), maps_only=only), x.clone()
        leaf.requires_grad_()
        answer = model(leaf, step, replace(cond, map_request=request), fused_attention)
        assert bool(torch.isnan(answer).all()) is only
        return torch.autograd.grad(request.found[first].square().sum(), leaf)[0]

    whole = gradient(False)
    assert whole.abs().sum() > 0 and close(gradient(True), whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.save_memory()
    assert close(gradient(True), whole) and close(gradient(False), whole)
