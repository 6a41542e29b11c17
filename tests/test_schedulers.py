"""Every scheduler class of the installed diffusers: it runs as diffusers steps it, or is refused before any work.

The classes are listed by the library itself, so that a new one is tested when it appears.
"""

import os
import re
import runpy
import subprocess
import sys
from functools import cache
from inspect import signature
from pathlib import Path

import diffusers
import numpy as np
import pytest
import tiny
import torch

from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.controls.watching import Progress
from animatic.core.loop import sample
from animatic.core.schedulers import EXPLODING, PRESERVING, SHORT, scheduler_named
from animatic.errors import AnimaticError
from animatic.rendering import render, render_batch
from animatic.scene import Scene, Track

CLOSE = 1e-4  # of the largest value: sums in another order
ALL = sorted({name for name in dir(diffusers) if name.endswith("Scheduler")} | {"CogVideoXSATDPMScheduler"})
STEPS = 4

# what a model was trained for, by its own scheduler
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
TRAINED = {
    "noise": diffusers.DDIMScheduler(**BETAS, steps_offset=1),
    "velocity": diffusers.DDIMScheduler(**BETAS, prediction_type="v_prediction", timestep_spacing="trailing"),
    "zero-snr": diffusers.DDIMScheduler(
        **BETAS, prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True
    ),
    "flow": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
}
CELLS = [(kind, name) for kind in TRAINED for name in ALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())


@pytest.fixture(scope="module")
def models(folder):
    """The same network as a model of each kind."""
    models = {}
    for kind, scheduler in TRAINED.items():
        models[kind] = load(str(folder))
        models[kind].scheduler = scheduler
    return models


def schedule_or_refusal(model, name):
    """(schedule, ""), or (None, the message)."""
    try:
        return model.schedule(STEPS, name), ""
    except AnimaticError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def schedules(models):
    """What `schedule_or_refusal` says of a cell, once: diffusers takes half a second to make a KDPM2."""

    @cache
    def of_cell(kind, name):
        return schedule_or_refusal(models[kind], name)

    return of_cell


def run(model, schedule, seeds=(0,)):
    cond = model.encode(["a cat"] * len(seeds), ["bad"] * len(seeds))
    return sample(model, schedule.again(), model.noise(seeds, 1, 32, 32), cond, [Guidance(3.0)], seeds)


def stepped_by_diffusers(model, name, schedule):
    """A loop of the bare scheduler and the bare network, with the same draws."""
    schedule = schedule.again()
    scheduler = scheduler_named(name, model.scheduler)
    scheduler.set_timesteps(STEPS)
    noise = model.noise([0], 1, 32, 32)
    schedule.start(noise)  # the draws of this noise
    takes = signature(scheduler.step).parameters
    draws = {"generator": schedule._draws} if takes.keys() & {"generator", "more"} else {}
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    text = model.text(["bad", "a cat"])
    old, before = None, None
    for t in scheduler.timesteps:
        seen = torch.cat([x, x])[:, :, 0]
        if hasattr(scheduler, "scale_model_input"):
            seen = scheduler.scale_model_input(seen, t)
        with torch.no_grad():
            negative, positive = model.unet(seen, t, text).sample[:, :, None].chunk(2)
        guided = negative + 3 * (positive - negative)
        if "old_pred_original_sample" in takes:  # CogVideoX's, which wants frames before channels
            x, guided = x.movedim(2, 1), guided.movedim(2, 1)
            x, old = scheduler.step(guided, old, t, before, x, **draws, return_dict=False)
            x, before = x.movedim(2, 1), t
        else:
            x = scheduler.step(guided, t, x, **draws).prev_sample
    return x


def test_all_are_found():
    """The list is the library's, with what needs packages that are not installed, and the class of this project."""
    assert len(ALL) > 40
    assert {SHORT[name] for name in SHORT} <= set(ALL)


def test_the_page_of_schedulers_is_current_and_lists_all():
    root = Path(__file__).parents[1]
    page = (root / "docs" / "schedulers.md").read_text("utf-8")
    assert page == runpy.run_path(str(root / "runs" / "schedulers.py"))["schedulers"](), "run: python runs/reference.py"
    listed = re.findall(r"^\| `(\w+Scheduler)`", page, re.MULTILINE)
    assert sorted(listed) == ALL


@pytest.mark.parametrize(("kind", "name"), CELLS)
def test_it_steps_as_diffusers_or_is_refused(models, schedules, kind, name):
    model = models[kind]
    schedule, refusal = schedules(kind, name)
    if schedule is None:
        # named as it was typed; and what is wanted in its place runs on this very model
        assert name in refusal
        assert "\n" not in refusal
        wanted = refusal.rpartition("want ")[2]
        nearest = re.match(r"[\w+-]+", wanted)
        assert nearest, refusal
        assert schedules(kind, nearest[0])[0] is not None, refusal
        return

    got, want = run(model, schedule), stepped_by_diffusers(model, name, schedule)
    assert bool(want.isfinite().all())
    assert float((got - want).abs().max()) <= CLOSE * float(want.abs().max())


@pytest.mark.parametrize("name", sorted(PRESERVING | EXPLODING))
@pytest.mark.parametrize("kind", ["noise", "zero-snr"])
def test_the_noise_levels_are_the_models_own(kind, name):
    """Also where a scheduler has no option for what shifted the model's table, and no file says `trained_betas`."""
    like = TRAINED[kind]
    levels = scheduler_named(name, like).alphas_cumprod.double()
    assert float((levels - like.alphas_cumprod.double()).abs().max()) <= 1e-5


@pytest.mark.parametrize(("kind", "name"), CELLS)
def test_the_same_seed_twice_and_at_another_place_in_a_batch(models, schedules, kind, name):
    model, (schedule, _) = models[kind], schedules(kind, name)
    if schedule is None:
        return
    one = run(model, schedule)
    scale = float(one.abs().max())
    assert float((one - run(model, schedule)).abs().max()) <= CLOSE * scale
    assert float((one - run(model, schedule, (7, 0))[1:]).abs().max()) <= CLOSE * scale
    assert float((one - run(model, schedule, (7,))).abs().max()) > 0.01 * scale, "another seed is another sample"


# diffusers' PNDM averages velocities of several levels as if they were noise, and is off at few steps
EXACT = [cell for cell in CELLS if cell != ("velocity", "PNDMScheduler")]


@pytest.mark.parametrize(("kind", "name"), EXACT)
def test_each_evaluation_is_at_its_noise_level(schedules, kind, name):
    """With a network that knows the clean sample every solver arrives at it, by way of the levels that it announces."""
    schedule = schedules(kind, name)[0]
    if schedule is None:
        return
    schedule = schedule.again()
    clean, noise = torch.randn(2, 1, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    schedule.start(noise)
    first = next(iter(schedule))
    x = schedule.noised(clean, noise, first)
    before = schedule._draws[0].get_state()
    for step in schedule:
        drawn = not torch.equal(before, schedule._draws[0].get_state())
        if not drawn and not step.clean:
            expected = schedule.noised(clean, noise, step)
            assert float((x - expected).abs().max()) <= 0.02 * float(expected.abs().max()), step
        if not step.clean:
            known = schedule.prediction(x, clean, step)
            assert float((schedule.estimate(x, known, step) - clean).abs().max()) <= 0.01
            x = schedule.advance(x, known, step)
    assert float((x - clean).abs().max()) <= 0.2  # some end at the first level of the table, of 0.03


def frames_of(folder):
    """One frame with every scheduler that runs on the folder's model, by its class."""
    model = load(str(folder))
    names = [name for name in ALL if schedule_or_refusal(model, name)[0] is not None]
    scene = Scene("a cat", seconds=0)
    return {
        name: render(scene, model, "none", 5, steps=STEPS, scheduler=name, size=(32, 32), guidance=3.0).frames
        for name in names
    }


SCRIPT = "import sys, numpy, test_schedulers; numpy.savez(sys.argv[1], **test_schedulers.frames_of(sys.argv[2]))"


@pytest.mark.slow("another process that imports torch")
def test_another_process_makes_the_same_frames(folder, tmp_path):
    file = tmp_path / "frames.npz"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file), str(folder)], check=True, env={**os.environ, "PYTHONPATH": paths}
    )
    there, here = np.load(file), frames_of(folder)
    assert set(there) == set(here)
    assert len(here) > 20
    for name, frames in here.items():
        assert np.abs(frames.astype(int) - there[name].astype(int)).max() <= 1, name


def test_requests_and_batches_go_by_the_class_name(folder):
    """A file says the number of steps that was asked for, and how often the network was evaluated is the progress."""
    model, ticks = load(str(folder)), []
    scenes = [Scene("a cat", seconds=0), Scene("a dog", seconds=0)]
    how = {"steps": STEPS, "scheduler": "KDPM2AncestralDiscreteScheduler", "size": (32, 32)}
    alone = render(scenes[1], model, "none", 5, callbacks=[Progress(lambda *tick: ticks.append(tick))], **how)
    assert alone.info["steps"] == STEPS
    assert ticks[-1] == (2 * STEPS - 1, 2 * STEPS - 1)
    batch = render_batch(scenes, model, "none", [1, 5], **how)
    assert np.abs(batch[1].frames.astype(int) - alone.frames.astype(int)).max() <= 1


@pytest.mark.parametrize("method", ["lvd", "lmd", "multidiffusion"])
@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler"])
def test_methods_steer_solvers_of_second_order(models, name, method):
    """What they change at the second evaluation has an effect through the prediction."""
    scene = Scene("a red ball", (Track("red ball", ((0.0, 0.2, 0.5, 0.7),)),), seconds=0)
    how = {"steps": 3, "scheduler": name, "size": (64, 64)}
    plain = render(scene, models["noise"], "none", 3, **how).frames.astype(int)
    steered = render(scene, models["noise"], method, 3, **how).frames.astype(int)
    assert np.abs(steered - plain).mean() > 1
