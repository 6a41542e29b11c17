"""Energy as a control: identity when off, effect when on, and the arithmetic of its update."""

from dataclasses import dataclass, replace

import pytest
import tiny
import torch
from conftest import RUN, close

from animatic.backbones import load
from animatic.controls.energy import Energy, Targets
from animatic.controls.guidance import Guidance
from animatic.controls.terms import BoxEnergy
from animatic.core.attention import fused_attention
from animatic.core.control import Control, Run
from animatic.core.encoded_prompt import EncodedPrompt
from animatic.core.loop import sample
from animatic.core.types import AttentionMapRequest
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track

CAT = Scene("a cat and a dog", (Track("cat", ((0, 0, 0.4, 0.4), (0.6, 0, 1, 0.4))),))
TWO = Scene("two cats", (Track("cat", ((0, 0, 0.4, 0.4),)), Track("cat", ((0.6, 0.6, 1, 1),))))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


def run(model, controls, scenes=(CAT,), solver="ddim", steps=4):
    cond = model.encode([s.prompt for s in scenes], [""] * len(scenes))
    return sample(
        model,
        model.schedule(steps, solver),
        model.noise(range(len(scenes)), 3, 64, 64),
        cond,
        [Guidance(2.0), *controls],
        scenes=scenes,
    )


def energy_of(model, x, step, scene=CAT):
    targets = Targets.of([scene], [EncodedPrompt.of(scene, model.text)], 3, x.device, legacy=False)
    maps = AttentionMapRequest(targets.tokens)
    cond = model.encode([scene.prompt], [""]).positive
    model(x / step.gain, step, replace(cond, map_request=maps), fused_attention)
    return BoxEnergy()(maps.found, targets)


@pytest.mark.parametrize("off", [{"iterations": 0}, {"until": 0.0}, {"scale": 0.0}])
def test_off_is_the_identity(model, off):
    made = run(model, [Energy(BoxEnergy(), **off)])
    assert torch.equal(made, run(model, [])), "nothing is added"


def test_no_tracks_is_the_identity(model):
    empty = Scene("a cat")
    none = run(model, [Energy(BoxEnergy(), scale=100)], (empty,))
    assert torch.equal(none, run(model, [], (empty,))), "the same passes"


@pytest.mark.parametrize("solver", ["ddim", "dpm++", "unipc", "euler"])
def test_on_lowers_the_energy_in_every_scheduler(model, solver):
    """One update at the first noise level, in variance-preserving units whatever the scheduler's."""
    seen = []

    @dataclass
    class Look(Control):
        def steer(self, inner, x, step, cond):
            if step.index == 0:
                seen.append(float(energy_of(model, x, step)))
            return x

    for controls in ([Look()], [Energy(BoxEnergy(), scale=2000, until=0.2, iterations=3), Look()]):
        run(model, controls, solver=solver)
    assert seen[1] < seen[0] - 1e-4


def test_the_update_is_the_papers(model):
    """x - scale * sqrt(1 - alpha_bar) * dE/dx, once."""
    moved = []

    @dataclass
    class Look(Control):
        def steer(self, inner, x, step, cond):
            if step.index == 0:
                moved.append((x.clone(), step))
            return x

    run(model, [Look(), Energy(BoxEnergy(), scale=7.0, until=0.2, iterations=1), Look()])
    (before, step), (after, _) = moved
    with torch.enable_grad():
        leaf = before.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(energy_of(model, leaf, step).sum(), leaf)
    assert torch.allclose(after, before - 7.0 * step.noise * gradient, atol=1e-7)
    assert not torch.equal(after, before)


def test_threshold_is_judged_anew(model):
    """The default asks at every step; legacy carries the value over, and once under the threshold asks no more."""
    calls = []

    @dataclass
    class Count(Control):
        def denoise(self, inner, x, step, cond):
            calls.append((step.index, cond.map_request is not None))
            return inner(x, step, cond)

    for legacy, want in ((False, [0, 1, 2, 3]), (True, [0])):
        calls.clear()
        run(model, [Energy(BoxEnergy(), threshold=10.0, until=1.0, iterations=5, legacy=legacy), Count()])
        assert [i for i, guided in calls if guided] == want


def test_rows_are_guided_apart(model):
    """A batch of two scenes equals two runs; a scene under its threshold is left alone."""
    left = Scene("a cat", (Track("cat", ((0, 0, 0.4, 0.4),)),))
    right = Scene("a dog", (Track("dog", ((0.6, 0.6, 1, 1),)),))
    together = run(model, [Energy(BoxEnergy(), scale=500, until=0.5)], (left, right))
    alone = run(model, [Energy(BoxEnergy(), scale=500, until=0.5)], (left,))
    assert close(together[:1], alone, RUN)


def test_what_is_inside_is_guided_too(model):
    """The guided pass goes through the controls nested inside Energy, and only there."""
    seen = []

    @dataclass
    class Told(Control):
        name: str

        def condition(self, cond, step):
            return cond

        def denoise(self, inner, x, step, cond):
            seen.append((self.name, cond.map_request is not None))
            return inner(x, step, cond)

    run(model, [Told("out"), Energy(BoxEnergy(), until=0.2, iterations=1), Told("in")], steps=1)
    assert seen == [("in", True), ("out", False), ("in", False)]


def test_things_of_the_same_words_share_a_target(model):
    prompts = [EncodedPrompt.of(TWO, model.text)]
    united = Targets.of([TWO], prompts, 2, torch.device("cpu"), legacy=False)
    apart = Targets.of([TWO], prompts, 2, torch.device("cpu"), separate_objects=True)
    assert len(apart.samples) == 2 * len(united.samples) == 2 * len(model.text.positions("two cats", "cats"))
    assert united.masks(8, 8)[0].sum() == apart.masks(8, 8)[[0, len(united.samples)]].sum()
    assert united.weights.sum() == pytest.approx(1) and apart.weights.sum() == pytest.approx(1)


def test_numbers_per_head_are_those_of_a_sum_over_heads(model):
    """LMD's scale times, and its threshold divided by, the mean number of heads of the layers that are read."""
    schedule, x = model.schedule(4, "ddim"), model.noise([0], 3, 64, 64)
    names = model.hooks.text_layers[:2]
    counts = [model.unet.get_submodule(name).heads for name in names]
    energy = Energy(BoxEnergy(), tuple(names), scale=5.0, threshold=5.0, per_head=True)
    own = energy.begin(Run(model, schedule, x, scenes=[CAT]))
    mean = sum(counts) / len(counts)
    assert mean > 1 and own.scale == pytest.approx(5 * mean) and own.threshold == pytest.approx(5 / mean)
    assert energy.scale == 5, "the settings stay as they are"


def test_bad_input(model):
    x, cond = model.noise([0], 3, 64, 64), model.encode([CAT.prompt], [""])
    for scenes, message in (([CAT, CAT], "2 scenes for 1 samples; want one each"), ([], "Energy needs scenes")):
        with pytest.raises(AnimaticError, match=message):
            sample(model, model.schedule(4), x, cond, [Energy(BoxEnergy())], scenes=scenes)
    with pytest.raises(AnimaticError, match="Energy is per head, and no text attention layer in nowhere has heads"):
        run(model, [Energy(BoxEnergy(), layers=("nowhere",), per_head=True)])
    with pytest.raises(AnimaticError, match=r"layers nowhere match no text attention"):
        run(model, [Energy(BoxEnergy(), layers=("nowhere",))])
    with pytest.raises(AnimaticError, match="not finite"):
        run(model, [Energy(BoxEnergy(), scale=float("inf"), until=1.0)])


@pytest.mark.parametrize(
    ("steps", "until", "iters", "want"),
    [(40, 0.25, 5, 50), (40, 0.25, 1, 10), (50, 0.6, (4,) * 5 + (3,) * 5 + (2,) * 10 + (1,), 65), (50, 0.2, 5, 50)],
    ids=["LVD", "LVD weak", "LMD", "backward guidance"],
)
def test_as_many_passes_as_in_the_originals(model, steps, until, iters, want):
    """Guided passes of a whole run, never under the threshold (recorded: 50, 10, 65, 50)."""
    calls, cond = [], model.encode([CAT.prompt], [""])
    schedule, x = model.schedule(steps, "ddim"), model.noise([0], 1, 16, 16)
    control = Energy(BoxEnergy(), until=until, iterations=iters, threshold=-1.0)
    control = control.begin(Run(model, schedule, x, scenes=[CAT]))

    def inner(x, step, cond):
        calls.append(step.index)
        return model(x, step, cond, fused_attention)

    for step in schedule:
        control.steer(inner, x, step, cond)
    assert len(calls) == want


def test_the_shape_of_the_steps(model):
    """Half the shape, half the step."""
    run_ = Run(model, model.schedule(4, "ddim"), model.noise([0], 3, 64, 64), scenes=[CAT])
    step, cond = next(iter(run_.schedule)), model.encode([CAT.prompt], [""])
    moves = []
    for shape in (lambda step: 1.0, lambda step: 0.5):
        control = Energy(BoxEnergy(), scale=100.0, iterations=1, step_size=shape).begin(run_)
        moves.append(control.steer(lambda x, s, c: model(x, s, c, fused_attention), run_.x, step, cond) - run_.x)
    assert torch.allclose(moves[0], 2 * moves[1], atol=1e-6) and moves[0].abs().sum() > 0
