"""PNDM, the solver in Stable Diffusion's folders: n steps are n + 1 evaluations of the network, in the one loop."""

from dataclasses import dataclass, field

import pytest
import tiny
import torch
from diffusers import PNDMScheduler, StableDiffusionPipeline

from animatic.backbones import load
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.terms import BoxEnergy
from animatic.core.attention import fused_attention
from animatic.core.control import Control, Run
from animatic.core.loop import sample
from animatic.core.schedule import Schedule
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene, Track

# Stable Diffusion 1.5, scheduler/scheduler_config.json
STABLE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "skip_prk_steps": True,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
CLOSE = 1e-4  # of the largest value: sums in another order, several steps long
STEPS = 6
PICTURE = Scene("A red ball", (Track("red ball", ((0.0, 0.2, 0.5, 0.7),)),), seconds=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose own scheduler is PNDM."""
    path = tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())
    PNDMScheduler(**STABLE).save_pretrained(path / "scheduler")
    return path


@pytest.fixture(scope="module")
def image(folder):
    return load(str(folder))


@dataclass
class Asked(Control):
    """The levels at which the network was asked."""

    times: list[float] = field(default_factory=list)

    def denoise(self, inner, x, step, cond):
        self.times.append(step.t)
        return inner(x, step, cond)


def test_it_is_the_pipeline_of_diffusers(folder, image):
    noise, asked = image.noise([5], 1, 64, 64), Asked()
    cond = image.encode(["A red ball"], ["blurry"])
    schedule = image.schedule(STEPS)
    made = sample(image, schedule, noise, cond, [Guidance(7.5), asked])[:, :, 0]

    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, scheduler=PNDMScheduler(**STABLE), safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    want = pipeline(
        "A red ball", negative_prompt="blurry", latents=noise[:, :, 0], guidance_scale=7.5,
        num_inference_steps=STEPS, output_type="latent",
    ).images  # fmt: skip

    assert asked.times == pipeline.scheduler.timesteps.tolist()
    assert len(asked.times) == len(schedule) == STEPS + 1
    assert schedule.steps == STEPS
    assert float((made - want).abs().max()) <= CLOSE * float(want.abs().max())


def test_an_energy_goes_downhill_at_each_evaluation(image):
    """As LMD's own loop does with this solver: what is known of the level is told by its place in the timesteps."""
    noise = image.noise([5], 1, 64, 64)
    cond = image.encode([PICTURE.prompt], [""])
    energy = Energy(BoxEnergy(), scale=50.0, until=0.5, iterations=2)
    made = sample(image, image.schedule(STEPS), noise, cond, [Guidance(5.0), energy], scenes=[PICTURE])

    # by hand, with the gradient that the control takes and the solver of diffusers
    solver, schedule, x = PNDMScheduler(**STABLE), image.schedule(STEPS), noise
    solver.set_timesteps(STEPS)
    own, moved = energy.begin(Run(image, schedule, noise, cond, scenes=[PICTURE])), 0

    def network(x, step, cond):
        return image(x, step, cond, fused_attention)

    for t, step in zip(solver.timesteps, schedule, strict=False):
        before, x = x, own.steer(network, x, step, cond)
        moved += not torch.equal(before, x)
        with torch.no_grad():
            negative, positive = network(x.repeat(2, 1, 1, 1, 1), step, cond).chunk(2)
        x = solver.step(negative + 5.0 * (positive - negative), t, x).prev_sample

    assert moved == 4  # of 7 evaluations those before the half
    assert float((made - x).abs().max()) <= CLOSE * float(x.abs().max())


@pytest.mark.parametrize("method", ["none", "backward-guidance", "lmd"])
def test_it_goes_by_name_and_again_by_its_request(image, method):
    """`steps` of a request are those that were asked for, not the evaluations."""
    image.family = "other"
    first = render(PICTURE, image, method, 3, scheduler="pndm", steps=4, frames=1)
    assert first.info["steps"] == 4
    assert first.info["scheduler"] == "PNDMScheduler"
    assert first.info["request"]["sampling"]["steps"] == 4
    other = render(PICTURE, image, method, 3, scheduler="ddim", steps=4, frames=1)
    assert (first.frames != other.frames).any()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps(image, steps):
    cond = image.encode([""], [""])
    x = sample(image, image.schedule(steps, "pndm"), image.noise([1], 1, 64, 64), cond, [Guidance(1.0)])
    assert bool(x.isfinite().all())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"skip_prk_steps": False}, "Runge-Kutta.*want skip_prk_steps true"),
        ({"timestep_spacing": "linspace"}, "evenly apart; want ddim"),
        ({"prediction_type": "sample"}, "does not support models that predict clean samples"),
        ({"trained_betas": [0.1] * 9 + [1.0], "num_train_timesteps": 10}, "zero terminal SNR"),
    ],
)
def test_what_it_cannot_is_refused(changed, why):
    settings = {**STABLE, "prediction_type": "v_prediction", **changed}
    with pytest.raises(AnimaticError, match=why):
        Schedule(PNDMScheduler(**settings), 9 if "trained_betas" in changed else 4)
