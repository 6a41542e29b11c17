"""Guidance: rescaled, in an interval, CFG-Zero* and APG, equal to the guiders of diffusers, and set by name."""

from copy import copy
from dataclasses import replace

import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers.guiders import AdaptiveProjectedGuidance, ClassifierFreeGuidance, ClassifierFreeZeroStarGuidance
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer

from animatic.backbones import load
from animatic.controls.guidance import Guidance, WaveGuidance
from animatic.controls.guidance_rules import Projected, ZeroStar
from animatic.core.control import Control, Run
from animatic.core.loop import sample
from animatic.errors import AnimaticError
from animatic.methods import METHODS
from animatic.methods.settings import settings_of, tuned
from animatic.rendering import render
from animatic.scene import Scene, Track

STEPS = 5
PICTURE = Scene("a cat", seconds=0)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())))


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return load(str(tiny.wan(tmp_path_factory.mktemp("model"))))


class Recorded:
    """A network of random predictions, two samples of both signs at each level; it counts its branches."""

    def __init__(self, model, count=2):
        draw = torch.Generator().manual_seed(0)
        self.schedule = model.schedule(STEPS)
        self.cond = model.encode(["a cat"] * count, ["bad"] * count)
        self.x = torch.randn(count, 4, 1, 4, 4, generator=draw)
        self.predictions = torch.randn(STEPS, 2 * count, 4, 1, 4, 4, generator=draw)
        self.branches = []
        self.run = Run(model, self.schedule, self.x, self.cond)

    def __call__(self, x, step, cond):
        self.branches.append(len(x))
        predictions = self.predictions[step.index]
        return predictions if len(x) == len(predictions) else predictions[len(x) :]

    def guided(self, control):
        """The guided prediction at each noisy level."""
        own = control.begin(self.run)
        return [own.denoise(self, self.x, step, self.cond) for step in self.schedule if not step.clean]

    def by(self, guider, cleaned=False):
        """The same by a guider of diffusers; APG is of clean estimates."""
        predictions = []
        for step in self.schedule:
            if step.clean:
                break
            guider.set_state(step.index, STEPS, step.t)
            negative, positive = self.predictions[step.index].chunk(2)
            if cleaned:
                negative = self.schedule.estimate(self.x, negative, step)
                positive = self.schedule.estimate(self.x, positive, step)
            guided = guider.forward(positive, negative).pred
            predictions.append(self.schedule.prediction(self.x, guided, step) if cleaned else guided)
        return predictions


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.2, 0.6), (0.4, 1.0)])
def test_rescale_and_interval_are_those_of_diffusers(image, rescale, interval):
    network = Recorded(image)
    guider = ClassifierFreeGuidance(5.0, guidance_rescale=rescale, start=interval[0], stop=interval[1])
    found = network.guided(Guidance(5.0, interval, rescale))
    for ours, theirs in zip(found, network.by(guider), strict=True):
        assert close(ours, theirs)

    # outside of the interval the unconditional branches are not evaluated
    inside = [interval[0] <= i / STEPS < interval[1] for i in range(STEPS)]
    assert network.branches == [4 if guided else 2 for guided in inside]
    if rescale == 1:
        for i, ours in enumerate(found):
            deviations = network.predictions[i][2:].std((1, 2, 3, 4))
            assert close(ours.std((1, 2, 3, 4)), deviations)


def test_zero_star_is_that_of_diffusers(wan):
    network = Recorded(wan)
    for zero_init in (0, 2):
        guider = ClassifierFreeZeroStarGuidance(5.0, zero_init_steps=zero_init)
        found = network.guided(Guidance(5.0, rule=ZeroStar(zero_init)))
        for ours, theirs in zip(found, network.by(guider), strict=True):
            assert close(ours, theirs)
        assert [not bool(ours.any()) for ours in found] == [i < zero_init for i in range(STEPS)]

    # the scaled unconditional prediction is the nearest one: what remains is orthogonal to it
    negative, positive = network.predictions[0].chunk(2)
    (first, *_) = network.guided(Guidance(0.0, rule=ZeroStar()))
    assert torch.allclose(((positive - first) * negative).flatten(1).sum(1), torch.zeros(2), atol=1e-3)


@pytest.mark.parametrize("kind", ["image", "wan"])
@pytest.mark.parametrize(("parallel", "norm", "reverse"), [(0.0, 15.0, 0.5), (0.0, 2.0, 0.0), (0.5, 0.0, 0.75)])
def test_projected_guidance_is_that_of_diffusers_on_clean_estimates(kind, parallel, norm, reverse, request):
    """diffusers' guider takes the predictions as they are; the paper's are clean estimates, and scale - 1."""
    network = Recorded(request.getfixturevalue(kind))
    guider = AdaptiveProjectedGuidance(4.0, -reverse, norm, (1, 3, 4), parallel, use_original_formulation=True)
    guider.momentum_buffer = MomentumBuffer(-reverse)
    found = network.guided(Guidance(5.0, rule=Projected(parallel, norm, reverse)))
    for ours, theirs in zip(found, network.by(guider, cleaned=True), strict=True):
        assert close(ours, theirs, RUN)


def test_projected_guidance_may_be_asked_twice_at_a_level(image):
    """A control outside of it may evaluate the network again: the memory is that of earlier levels."""
    network = Recorded(image)
    once = network.guided(Guidance(5.0, rule=Projected()))
    own = Guidance(5.0, rule=Projected()).begin(network.run)
    for step, wanted in zip(network.schedule, once, strict=False):
        for _ in range(2):
            assert torch.equal(own.denoise(network, network.x, step, network.cond), wanted)
    assert all(torch.equal(a, b) for a, b in zip(once, network.guided(Guidance(5.0, rule=Projected())), strict=True))


def run(model, *controls, frames=1, seeds=(3,)):
    cond = model.encode(["a cat"] * len(seeds), ["bad"] * len(seeds))
    noise = model.noise(seeds, frames, 32, 32)
    return sample(model, model.schedule(STEPS), noise, cond, controls, seeds)


CHANGED = {
    "interval": {"interval": (0.2, 0.8)},
    "rescale": {"rescale": 0.7},
    "zero-star": {"rule": ZeroStar()},
    "projected": {"rule": Projected(norm=1.0)},
}


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("kind", ["image", "wan"])
@pytest.mark.parametrize("control", [Guidance, WaveGuidance])
def test_each_has_an_effect_and_does_not_depend_on_the_batch(name, kind, control, request):
    model = request.getfixturevalue(kind)
    frames = 1 if kind == "image" else 5
    plain = run(model, control(5.0), frames=frames)
    changed = run(model, control(5.0, **CHANGED[name]), frames=frames)
    assert bool(changed.isfinite().all())
    assert not torch.allclose(changed, plain, atol=1e-3)
    batch = run(model, control(5.0, **CHANGED[name]), frames=frames, seeds=(9, 3))
    assert close(batch[1:], changed, 4 * RUN)


def test_off_is_plain_guidance(image):
    plain = run(image, Guidance(5.0))
    off = run(image, Guidance(5.0, (0.0, 1.0), 0.0, Projected(1.0, 0.0, 0.0)))
    assert close(off, plain, 4 * RUN)
    unguided = run(image, Guidance(1.0))
    assert torch.equal(run(image, Guidance(5.0, (0.9, 1.0))), unguided), "no level of five lies there"
    assert not torch.allclose(unguided, plain, atol=1e-3)


def test_a_model_has_an_interval_of_its_own(image):
    limited = copy(image)
    limited.defaults = replace(image.defaults, guidance_interval=(0.2, 0.8))
    own = run(limited, Guidance(5.0))
    assert torch.equal(own, run(image, Guidance(5.0, (0.2, 0.8))))

    # Who sets one has that.
    plain = run(image, Guidance(5.0))
    assert torch.equal(run(limited, Guidance(5.0, (0.0, 1.0))), plain)
    assert not torch.allclose(own, plain, atol=1e-3)


def test_they_are_settings_by_name(image):
    none = METHODS["none"]
    known = settings_of(none, image)
    assert known["guidance.rule"].choices == ("extrapolated", "zero-star", "projected")
    given = {"guidance.interval": "0.2,0.8", "guidance.rescale": "0.7", "guidance.rule": "projected"}
    (found,) = tuned(none, {**given, "guidance.rule.norm": "2.5"}, image).on(image)
    assert found == Guidance(None, (0.2, 0.8), 0.7, Projected(norm=2.5))

    how = {"steps": STEPS, "guidance": 5.0, "size": (32, 32)}
    plain = render(PICTURE, image, "none", 1, **how)
    for settings in ({"guidance.rescale": 1.0}, {"guidance.interval": (0.4, 0.8)}, {"guidance.rule": "projected"}):
        changed = render(PICTURE, image, "none", 1, settings=settings, **how)
        assert (changed.frames != plain.frames).any(), settings
        assert changed.request.settings == settings


@pytest.mark.parametrize(
    ("settings", "guidance", "why"),
    [
        ({"guidance.interval": (0.8, 0.2)}, 5.0, "guidance.interval is 0.8,0.2; want a smaller fraction first"),
        ({"guidance.interval": (0.2, 2.0)}, 5.0, "guidance.interval is .*; want numbers with commas"),
        ({"guidance.rescale": 1.5}, 5.0, "guidance.rescale is 1.5; want a number, 0 to 1"),
        ({"guidance.rescale": 0.5}, 1.0, "guidance.rescale has no effect at a guidance scale of 1; want another"),
        ({"guidance.rule": "projected"}, 1.0, "guidance.rule has no effect at a guidance scale of 1"),
        ({"guidance.rule": "other"}, 5.0, "want one of extrapolated, zero-star, projected"),
        (
            {"guidance.rule": "zero-star", "guidance.rule.zero_init": 1},
            5.0,
            "zero_init is 1, which is for .* flow matching",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(image, settings, guidance, why, monkeypatch):
    monkeypatch.setattr(type(image), "encode", None)  # nothing is encoded before it
    with pytest.raises(AnimaticError, match=why):
        render(PICTURE, image, "none", settings=settings, guidance=guidance, steps=2, size=(32, 32))


def test_controls_inside_and_outside_keep_working(image):
    """An energy inside guidance, and a control outside that looks at the guided prediction."""
    asked = []

    class Outside(Control):
        def denoise(self, inner, x, step, cond):
            asked.append(inner(x, step, cond).shape)
            return inner(x, step, cond)

    twice = run(image, Outside(), Guidance(5.0, rule=Projected()))
    assert torch.equal(twice, run(image, Guidance(5.0, rule=Projected())))
    assert len(asked) == STEPS


BALL = Scene("a red ball", (Track("red ball", ((0.0, 0.2, 0.5, 0.7),)),), seconds=0)


@pytest.mark.parametrize("method", ["lvd", "lmd", "multidiffusion", "layout-attention"])
@pytest.mark.parametrize("settings", [{"guidance.rule": "projected"}, {"guidance.interval": (0.0, 0.5)}])
def test_methods_are_guided_so_too(image, method, settings):
    """Controls outside and inside of guidance see what they did."""
    how = {"steps": 3, "size": (64, 64)}
    plain = render(BALL, image, method, 3, **how)
    changed = render(BALL, image, method, 3, settings=settings, **how)
    assert (changed.frames != plain.frames).any()


@pytest.mark.parametrize("settings", [{"guidance.rule": "projected"}, {"guidance.interval": (0.5, 1.0)}])
def test_stories_are_guided_so_too(wan, settings):
    """Windows are inside of guidance; outside of the interval only the conditional ones share keys and values."""
    model = load(wan.reference)
    model.geometry = replace(model.geometry, frames=5, fps=8.0)
    story = (Scene("a cat runs", seconds=1.0), Scene("a dog runs", seconds=1.0))
    how = {"steps": 3, "size": (32, 32)}
    plain = render(story, model, "ditctrl", 3, **how)
    changed = render(story, model, "ditctrl", 3, settings=settings, **how)
    assert (changed.frames != plain.frames).any()
