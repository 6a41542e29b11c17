"""The same seed gives the same frames: twice, in a batch, watched, in another process, with another number of threads.

Sums in another order differ in their last bits, and where the work is cut into other pieces (batches, threads, further
columns of attention) the order is another; a pixel that stands between two grey levels may then fall to either side.
So frames are compared to within one level, latents to within 1e-4 of their largest value.
"""

import os
import subprocess
import sys

import diffusers
import numpy as np
import pytest
import tiny
import torch

from animatic.backbones import load
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.terms import BoxEnergy
from animatic.controls.watching import Preview, Progress
from animatic.core.loop import sample
from animatic.core.schedule import Schedule
from animatic.core.schedulers import scheduler_named
from animatic.errors import AnimaticError
from animatic.rendering import render, render_batch
from animatic.scene import Scene, Track

LEVEL = 1  # of 255
BITS = 1e-4  # of the largest value
DRAWING = ["DDPM", "DDPMParallel", "EulerAncestralDiscrete", "LCM", "TCD", "SASolver", "CogVideoXDPM"]
BOXES = ((0.0, 0.2, 0.4, 0.6), (0.6, 0.2, 1.0, 0.6)), ((0.5, 0.5, 1.0, 1.0), (0.3, 0.5, 0.8, 1.0))
TWO = Scene("A red ball and a blue cat", (Track("red ball", BOXES[0]), Track("blue cat", BOXES[1])), "grass")
OTHER = Scene("A green car", (Track("green car", BOXES[1]),), "grass")
METHODS = ["none", "lvd", "boxdiff", "layout-attention", "gligen", "lmd", "lmd+", "multidiffusion"]


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())))


@pytest.fixture(scope="module")
def cogvideox(tmp_path_factory):
    return load(str(tiny.cogvideox(tmp_path_factory.mktemp("model"), rotary=True, dpm=True)))


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return load(str(tiny.wan(tmp_path_factory.mktemp("model"))))


def latents(model, scheduler, seeds=(1,), dtype=torch.float32):
    """Clean latents of seeds."""
    frames = 1 if "image" in model.provides else 5
    cond = model.encode(["a cat"] * len(seeds), [""] * len(seeds))
    noise = model.noise(seeds, frames, 32, 32).to(dtype)
    return sample(model, model.schedule(4, scheduler), noise, cond, [Guidance(3.0)])


def same_latents(a, b):
    scale = float(a.abs().max())
    assert float((a - b).abs().max()) <= BITS * scale


def apart(a, b):
    """The most grey levels between two videos."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, n) for k in ("image", "cogvideox") for n in DRAWING if (k, n) != ("cogvideox", "SASolver")],  # refused there
)
def test_schedulers_that_draw_noise(kind, name, request):
    """From each row's own seed: twice the same, alone and second of two; another seed is another sample."""
    model, scheduler = request.getfixturevalue(kind), f"{name}Scheduler"
    one = latents(model, scheduler)
    same_latents(one, latents(model, scheduler))
    same_latents(one, latents(model, scheduler, (2, 1))[1:])
    assert float((one - latents(model, scheduler, (2,))).abs().max()) > 0.1 * float(one.abs().max())


def test_a_flow_solver_that_draws_noise(wan):
    one = latents(wan, "LTXEulerAncestralRFScheduler")
    same_latents(one, latents(wan, "LTXEulerAncestralRFScheduler", (2, 1))[1:])


@pytest.mark.parametrize("name", ["DEISMultistep", "SASolver"])
def test_what_ends_before_the_clean_sample_is_refused(wan, name):
    """diffusers' own levels of flow matching stop at the last noisy one: the video keeps its noise."""
    with pytest.raises(AnimaticError, match=f"{name}Scheduler leaves noise of 0.5.*after 4 steps; want flow"):
        wan.schedule(4, f"{name}Scheduler")


@pytest.mark.parametrize("name", [*DRAWING, "DPMSolverMultistep"])
def test_draws_do_not_hang_on_the_weights_precision(name):
    """Noise that was rounded to half precision leads to the same draws, and so to nearly the same sample."""
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    more = {"algorithm_type": "sde-dpmsolver++"} if name == "DPMSolverMultistep" else {}
    scheduler = getattr(diffusers, f"{name}Scheduler")(**betas, **more)
    noise = torch.randn(2, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ends = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        schedule = Schedule(scheduler, 5)
        x = schedule.start(noise.to(dtype))
        for step in schedule:
            if not step.clean:
                x = schedule.advance(x, 0.1 * schedule.scale(x, step), step)
        ends[dtype] = x.float()
    for dtype in (torch.bfloat16, torch.float16):
        assert (ends[dtype] - ends[torch.float32]).norm() < 0.05 * ends[torch.float32].norm()


def test_the_draws_of_cogvideox_5b_do_not_hang_on_the_weights_precision(cogvideox):
    """Its own solver: with draws of another seed two runs are 1.4 of their norm apart."""
    full = latents(cogvideox, "")
    rounded = latents(cogvideox, "", dtype=torch.bfloat16).float()
    assert (rounded - full).norm() < 0.1 * full.norm()
    assert (latents(cogvideox, "", (2,)) - full).norm() > 0.5 * full.norm()


@pytest.mark.parametrize("method", METHODS)
def test_a_video_is_the_same_second_in_a_batch_of_others(mini, method):
    alone = render(TWO, mini, method, 1, steps=2, frames=4)
    second = render_batch([OTHER, TWO], mini, method, [5, 1], steps=2, frames=4)[1]
    assert apart(alone.frames, second.frames) <= LEVEL


@pytest.mark.parametrize("method", ["none", "lvd"])
def test_who_watches_changes_nothing(mini, method):
    """Progress and previews; heat maps ask attention for further columns, and so sum in another order."""
    how = {"steps": 2, "frames": 4}
    alone = render(TWO, mini, method, 1, **how).frames
    shown = []
    for watch in (
        [Progress(lambda done, count: shown.append(done)), Preview(lambda step, frames: shown.append(frames), 1)],
        [AttentionMaps(lambda row, phrase, heat: shown.append(heat))],
    ):
        assert apart(alone, render(TWO, mini, method, 1, callbacks=watch, **how).frames) <= LEVEL
    assert len(shown) == 3 + 2 + 2


METHODS_ELSEWHERE = ("none", "lvd", "lmd")


def rendered():
    """Videos by name: of methods without gradients, with them, with a pass for each object, and of drawn noise."""
    how = {"steps": 2, "frames": 4}
    videos = {method: render(TWO, "mini", method, 1, **how).frames for method in METHODS_ELSEWHERE}
    return {**videos, "drawn": render(TWO, "mini", "none", 1, scheduler="DDPMScheduler", **how).frames}


SCRIPT = """
import sys
import numpy as np, torch
torch.set_num_threads(2)
from test_determinism import rendered
np.savez(sys.argv[1], **rendered())
"""


@pytest.mark.slow("a process that imports torch and loads a model")
def test_another_process_and_another_number_of_threads(tmp_path):
    file = tmp_path / "videos.npz"
    paths = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "2"}
    # OpenMP's threads spin while they wait for each other: thirty times the work where another test has a core
    environment["OMP_WAIT_POLICY"] = "passive"
    subprocess.run([sys.executable, "-c", SCRIPT, str(file)], check=True, env=environment)
    there = np.load(file)
    torch.set_num_threads(1)
    here = rendered()
    assert set(there) == set(here)
    for name, frames in here.items():
        assert apart(frames, there[name]) <= LEVEL, name


REFUSED = [
    ("DDIMInverse", "goes from videos to noise; want ddim"),
    ("DPMSolverMultistepInverse", "goes from videos to noise; want dpm"),
    ("DPMSolverSDE", "draws one noise for the whole batch.*; want EulerAncestral"),
    ("EDMEuler", "is for networks that are preconditioned as EDM's; want euler"),
    ("IPNDM", "has noise levels of its own in place of the model's; want dpm"),
    ("CMStochasticIterative", "is for networks that were distilled or trained for it; want LCM"),
    ("RePaint", "fills in a picture under a mask; want DDPM"),
    ("VQDiffusion", "denoises discrete tokens, and latents are continuous; want ddim"),
    ("FlowMatchEulerDiscrete", "is for models of flow matching, and this model predicts epsilon; want ddim"),
]


@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_schedulers_that_would_be_wrong_are_refused(image, name, why):
    with pytest.raises(AnimaticError, match=f"{name}Scheduler.* {why}"):
        image.schedule(4, f"{name}Scheduler")


@pytest.mark.parametrize("name", ["DEISMultistep", "LMSDiscrete", "DPMSolverSinglestep", "PNDM", "SASolver"])
def test_what_divides_by_no_signal_is_refused(cogvideox, mini, name):
    """Zero terminal SNR: these end in NaN, which was decoded to a black video."""
    for model in (cogvideox, mini):
        with pytest.raises(AnimaticError, match=f"{name}Scheduler divides by .*zero terminal SNR.*; want ddim"):
            model.schedule(4, f"{name}Scheduler")


def test_noise_cannot_be_predicted_where_there_is_nothing_else():
    scheduler = diffusers.DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    with pytest.raises(AnimaticError, match="DDIMScheduler: a model that predicts noise cannot begin"):
        Schedule(scheduler, 4)


def test_numbers_that_were_broken_before_are_not_blamed_on_the_scale(tmp_path):
    """What an energy says where the network itself answers NaN."""
    model = load(str(tiny.folder(tmp_path / "model", tiny.unet2d())))
    model.unet.conv_in.weight.data.fill_(torch.nan)
    energy = Energy(BoxEnergy(), scale=30)
    cond = model.encode([TWO.prompt], [""])
    noise = model.noise([0], 1, 32, 32)
    with pytest.raises(AnimaticError, match="step 0: the model's attention is not finite, before any update") as error:
        sample(model, model.schedule(2), noise, cond, [Guidance(2.0), energy], scenes=[TWO])
    assert "lower scale" not in str(error.value)


def test_more_steps_than_a_distilled_solver_has_are_one_line(image):
    with pytest.raises(AnimaticError, match="steps is 80, which LCMScheduler does not take"):
        image.schedule(80, "LCMScheduler")


def test_a_named_scheduler_clips_where_the_models_own_does():
    """The same wish is the same video, said or not."""
    for clips in (True, False):
        like = diffusers.DDIMScheduler(clip_sample=clips)
        for name in ("ddim", "DDPMScheduler"):
            assert scheduler_named(name, like).config.clip_sample is clips
    assert scheduler_named("DDPMScheduler", diffusers.DPMSolverMultistepScheduler()).config.clip_sample is False


def test_another_run_of_the_same_levels_is_told_the_same_times():
    """Also of a DDIM that visits both ends of the range, whose copy has a table of its own."""
    schedule = Schedule(diffusers.DDIMScheduler(timestep_spacing="linspace"), 5)
    assert [s.t for s in schedule.again()] == [s.t for s in schedule]
