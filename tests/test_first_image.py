"""Videos that begin with an image: diffusers' own pipelines, one image on every way in, and what controls change."""

import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import CogVideoXImageToVideoPipeline, WanImageToVideoPipeline
from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v
from PIL import Image

from animatic.backbones import load
from animatic.controls.first_frame import FirstFrame
from animatic.controls.guidance import Guidance
from animatic.core.loop import sample

KINDS = {
    "wan2.2-5b": (tiny.wan, {"each_token": True}),
    "cogvideox-5b-i2v": (tiny.cogvideox_i2v, {}),
    "cogvideox1.5-5b-i2v": (tiny.cogvideox_i2v, {"pairs": True}),
    "wan2.2-i2v-a14b": (tiny.wan_i2v, {"second": True}),
    "wan2.1-i2v": (tiny.wan_i2v, {}),
}
PROMPTS, NEGATIVES = ["the cat", "a dog"], ["red", "bear"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {name: make(root / name, **how) for name, (make, how) in KINDS.items()}


def picture(width=48, height=32, seed=0):
    """Smooth noise."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def pixels_of(image):
    return torch.from_numpy(np.array(image))[None, None]


@pytest.fixture(autouse=True)
def without_ftfy(monkeypatch):
    """diffusers' pipeline of images needs a package that its pipeline of text does without."""
    monkeypatch.setattr(pipeline_wan_i2v, "prompt_clean", pipeline_wan.prompt_clean)


def stock(folder, x, image, guidance, output="latent"):
    """What diffusers' own pipeline makes of the same noise and image."""
    is_wan = "wan" in folder.name
    cls = WanImageToVideoPipeline if is_wan else CogVideoXImageToVideoPipeline
    pipeline = cls.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    tokens = pipeline.tokenizer.model_max_length
    images = image if is_wan else [image] * len(x)
    made = pipeline(
        image=images, prompt=PROMPTS, negative_prompt=NEGATIVES, num_frames=9, height=32, width=48,
        latents=(x if is_wan else x.movedim(2, 1)).clone(), num_inference_steps=4, guidance_scale=guidance,
        max_sequence_length=tokens, output_type=output,
    ).frames  # fmt: skip
    return made if is_wan or output != "latent" else made.movedim(1, 2)


def ours(model, x, image, guidance, schedule=None):
    shown = model.with_image(pixels_of(image), 9)
    given = [] if shown.first_frame is None else [FirstFrame(shown.first_frame)]
    cond = shown.encode(PROMPTS, NEGATIVES)
    return sample(shown, schedule or shown.schedule(4), x, cond, [*given, Guidance(guidance)])


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("name", KINDS)
def test_the_pipelines_of_diffusers(folders, name, guidance):
    model = load(str(folders[name]))
    x = model.noise([0, 1], 9, 32, 48)
    made = ours(model, x, picture(), guidance)
    theirs = stock(folders[name], x, picture(), guidance)
    assert made.shape == theirs.shape
    assert close(made, theirs, RUN) and (made - theirs).abs().max() <= 1e-5 * theirs.abs().max()

    # the image matters, in the frames after it, too
    other = ours(model, x, picture(seed=1), guidance)
    assert (made - other)[:, :, -1].abs().max() > 1e-3
