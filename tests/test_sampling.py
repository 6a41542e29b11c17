"""The loop: equal to diffusers' own where no control acts, and each verb heard in its place."""

from dataclasses import dataclass, field, replace
from inspect import signature

import diffusers
import pytest
import tiny
import torch
from conftest import RUN, close

from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.controls.watching import Preview, Progress
from animatic.core.control import Control
from animatic.core.loop import sample
from animatic.core.schedulers import scheduler_named
from animatic.errors import AnimaticError

SOLVERS = ["ddim", "dpm++", "unipc", "euler"]
OTHERS = [
    "DEISMultistep",
    "DPMSolverSinglestep",
    "LMSDiscrete",
    "DDPM",
    "EulerAncestralDiscrete",
    "LCM",
    "TCD",
    "SASolver",
]
ALL = [*SOLVERS, *(f"{name}Scheduler" for name in OTHERS)]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())))


def run(model, controls, solver="ddim", steps=4, frames=3, seeds=(0,)):
    cond = model.encode(["a cat"] * len(seeds), ["bad"] * len(seeds))
    return sample(model, model.schedule(steps, solver), model.noise(seeds, frames, 64, 64), cond, controls)


@pytest.mark.parametrize("solver", ALL)
@pytest.mark.parametrize("kind", ["video", "image"])
def test_the_loop_is_diffusers_own(kind, solver, request):
    """Against a loop written with the bare scheduler and the bare network, and the same draws."""
    model = request.getfixturevalue(kind)
    frames = 3 if kind == "video" else 1
    got = run(model, [Guidance(3.0)], solver, frames=frames)
    schedule = model.schedule(4, solver)
    scheduler = scheduler_named(solver, model.scheduler)
    scheduler.set_timesteps(4)
    x = schedule.start(model.noise([0], frames, 64, 64))
    draws = {"generator": schedule._draws} if "generator" in signature(scheduler.step).parameters else {}
    text = model.text(["bad", "a cat"])
    with torch.no_grad():
        for t in scheduler.timesteps:
            seen = scheduler.scale_model_input(torch.cat([x, x]), t)
            if kind == "image":
                negative, positive = model.unet(seen[:, :, 0], t, text).sample[:, :, None].chunk(2)
            else:
                negative, positive = model.unet(seen, t, text).sample.chunk(2)
            x = scheduler.step(negative + 3 * (positive - negative), t, x, **draws).prev_sample
    assert close(got, x, RUN)


def test_flow_matching_steps():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    from animatic.core.schedule import Schedule

    schedule = Schedule(scheduler, 5)
    clean, noise = torch.randn(2, 1, 4, 1, 2, 2, generator=torch.manual_seed(0))
    x = schedule.start(noise)
    for step in schedule:
        if not step.clean:
            assert torch.allclose(schedule.estimate(x, noise - clean, step), clean, atol=1e-5)
            x = schedule.advance(x, noise - clean, step)
    assert torch.allclose(x, clean, atol=1e-5)


@pytest.mark.parametrize("solver", ALL)
def test_estimates_are_the_clean_sample(video, solver):
    """With the true noise as prediction the estimate is the truth, in every scheduler's units."""
    schedule = video.schedule(6, solver)
    clean, noise = torch.randn(2, 1, 4, 1, 2, 2, generator=torch.manual_seed(0))
    for step in schedule:
        if not step.clean:
            x = ((1 - step.noise**2) ** 0.5 * clean + step.noise * noise) * step.gain
            assert torch.allclose(schedule.estimate(x, noise, step), clean, atol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_steps_are_counted(video, solver):
    steps = list(video.schedule(5, solver))
    assert [s.index for s in steps] == list(range(6)) and [s.clean for s in steps] == [False] * 5 + [True]
    assert steps[0].fraction == 0 and steps[-1].fraction == 1
    noise = [s.noise for s in steps]
    assert noise == sorted(noise, reverse=True) and 0.9 < noise[0] <= 1 and noise[-1] == 0


def test_second_order_solvers_evaluate_twice_a_step(video):
    """The clean level comes once, after the last evaluation; the step that was asked for is what a file says."""
    schedule = video.schedule(5, "HeunDiscreteScheduler")
    steps = list(schedule)
    assert len(schedule) == 9
    assert schedule.steps == 5
    assert [s.index for s in steps] == list(range(10))
    assert [s.clean for s in steps] == [False] * 9 + [True]
    levels = [s.noise for s in steps]
    assert levels[1] == levels[2] < levels[0], "the second evaluation is at the next level, and so is the next step"


def test_unknown_schedulers_and_numbers_of_steps_are_refused(video):
    with pytest.raises(AnimaticError, match="unknown scheduler 'fast'"):
        video.schedule(5, "fast")
    with pytest.raises(AnimaticError, match="steps is 0"):
        video.schedule(0)


@dataclass
class Note(Control):
    """Writes down which verbs were called, in order."""

    name: str
    log: list = field(default_factory=list, repr=False)

    def condition(self, cond, step):
        self.log.append((self.name, "tell"))
        return cond

    def attend(self, inner, site, q, k, v, mask):
        if site.layer.startswith("mid") and site.kind == "cross":
            self.log.append((self.name, "attend"))
        return inner(site, q, k, v, mask)

    def denoise(self, inner, x, step, cond):
        self.log.append((self.name, "denoise"))
        return inner(x, step, cond)

    def steer(self, inner, x, step, cond):
        self.log.append((self.name, "clean" if step.clean else "steer"))
        return x


def test_controls_nest_outside_in(video):
    log = []
    got = run(video, [Guidance(2.0), Note("a", log), Note("b", log)], steps=1)
    once = [(n, v) for v in ("steer", "denoise", "tell", "attend", "clean") for n in "ab"]
    assert log == once
    assert torch.equal(got, run(video, [Guidance(2.0)], steps=1)), "a control that changes nothing changes nothing"


def test_inner_is_what_stands_inside(video):
    """`steer` gets the denoiser of the controls after it: inside guidance it sees the conditional answer alone."""

    @dataclass
    class Ask(Control):
        rows: list

        def steer(self, inner, x, step, cond):
            if not step.clean:
                self.rows.append((inner(x, step, cond.positive) * 0 + 1).shape[0])
            return x

    rows = []
    run(video, [Guidance(2.0), Ask(rows)], steps=2)
    assert rows == [1, 1]


def test_rows_are_told_apart(video):
    """Two samples in one batch equal two runs."""
    both = run(video, [Guidance(2.0)], seeds=(1, 2))
    for i, seed in enumerate((1, 2)):
        assert close(both[i : i + 1], run(video, [Guidance(2.0)], seeds=(seed,)), RUN)


def test_guidance(video):
    off, plain_cond = run(video, [Guidance(1.0)]), None
    cond = video.encode(["a cat"], ["bad"])
    plain_cond = sample(video, video.schedule(4), video.noise([0], 3, 64, 64), cond.positive)
    assert torch.equal(off, plain_cond), "scale 1 is the conditional model"
    assert not torch.allclose(run(video, [Guidance(4.0)]), off)
    with pytest.raises(AnimaticError, match="1 latents but 2 branches of text"):
        run(video, [])


def test_needs_are_checked_before_anything_runs(video):
    @dataclass
    class Grounded(Control):
        needs = frozenset({"grounding"})

    with pytest.raises(AnimaticError, match=r"Grounded needs grounding; .* provides text maps, video"):
        run(video, [Guidance(2.0), Grounded()])


def test_progress_and_preview(video):
    ticks, shown = [], []
    watched = run(
        video,
        [
            Progress(lambda *t: ticks.append(t)),
            Preview(lambda s, v: shown.append((s.index, tuple(v.shape))), 2),
            Guidance(2.0),
        ],
    )
    assert ticks == [(i, 4) for i in range(5)]
    assert shown == [(0, (1, 3, 64, 64, 3)), (2, (1, 3, 64, 64, 3))]
    assert torch.equal(watched, run(video, [Guidance(2.0)])), "looking changes nothing"


def test_runs_do_not_share_memory(video):
    controls = [Guidance(2.0)]
    assert torch.equal(run(video, controls, "dpm++"), run(video, controls, "dpm++")), "the same passes"


def test_negative_rows_can_be_dropped(video):
    cond = video.encode(["a", "b"], ["x", "y"])
    assert [(r.negative, r.sample) for r in cond.branches] == [(True, 0), (True, 1), (False, 0), (False, 1)]
    assert cond.samples == [0, 1, 0, 1]
    extra = replace(cond, extra={"pooled": torch.arange(4)})
    assert torch.equal(extra.positive.text, cond.text[2:]) and extra.positive.extra["pooled"].tolist() == [2, 3]
