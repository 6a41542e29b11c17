"""Stable Diffusion 3 and 3.5 are diffusers' own pipeline, and controls reach both streams of their attention."""

import pytest
import tiny
from conftest import RUN, close
from diffusers import StableDiffusion3Pipeline

from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.core.loop import sample

PROMPTS = ["the cat", "a dog"]


@pytest.fixture(scope="module", params=["3.5", "3"])
def folder(request, tmp_path_factory):
    return tiny.sd3(tmp_path_factory.mktemp("sd") / request.param, dual=request.param == "3.5")


@pytest.fixture(scope="module")
def model(folder):
    return load(str(folder), "cpu")


def stock(folder, x, negatives, guidance, output="latent"):
    """What diffusers' own pipeline makes of the same noise."""
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        prompt=PROMPTS, negative_prompt=negatives, latents=x[:, :, 0].clone(), num_inference_steps=4,
        guidance_scale=guidance, height=64, width=48, output_type=output, max_sequence_length=16,
    )  # fmt: skip
    return made.images


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("negatives", [None, ["red", "bear"]], ids=["none", "given"])
def test_the_pipeline_of_diffusers(folder, model, guidance, negatives):
    x = model.noise([0, 1], 1, 64, 48)
    cond = model.encode(PROMPTS, negatives or ["", ""])
    made = sample(model, model.schedule(4), x, cond, [Guidance(guidance)])
    theirs = stock(folder, x, negatives, guidance)
    assert close(made[:, :, 0], theirs, RUN) and (made[:, :, 0] - theirs).abs().max() <= 1e-5
