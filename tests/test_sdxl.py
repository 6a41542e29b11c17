"""Stable Diffusion XL is diffusers' own pipeline, and the methods of image UNets run on it."""

import pytest
import tiny
from conftest import RUN, close
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline

from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.core.loop import sample
from animatic.scene import Scene, Track

PROMPTS = ["the cat!", "a dog"]
SCENE = Scene("the cat and a dog", (Track("cat", ((0, 0, 0.5, 0.5),)),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sdxl(tmp_path_factory.mktemp("xl") / "xl")


@pytest.fixture(scope="module")
def model(folder):
    return load(str(folder), "cpu")


def stock(folder, x, negatives, guidance, scheduler=EulerDiscreteScheduler, output="latent"):
    """What diffusers' own pipeline makes of the same noise."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    made = pipeline(
        prompt=PROMPTS, negative_prompt=negatives, latents=x[:, :, 0] * 1.0, num_inference_steps=4,
        guidance_scale=guidance, height=64, width=48, output_type=output,
    )  # fmt: skip
    return made.images


@pytest.mark.parametrize("scheduler", ["euler", "ddim"])
@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("negatives", [None, ["red", "bear!"]], ids=["none", "given"])
def test_the_pipeline_of_diffusers(folder, model, scheduler, guidance, negatives):
    x = model.noise([0, 1], 1, 64, 48)
    cond = model.encode(PROMPTS, negatives or ["", ""])
    schedule = model.schedule(4, scheduler)
    made = sample(model, schedule, x, cond, [Guidance(guidance)])
    cls = {"euler": EulerDiscreteScheduler, "ddim": DDIMScheduler}[scheduler]
    theirs = stock(folder, x, negatives, guidance, cls)
    assert (made[:, :, 0] - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert close(made[:, :, 0], theirs, RUN)
