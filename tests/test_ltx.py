"""LTX-Video is diffusers' own to 1e-5, and every control reaches it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import FlowMatchEulerDiscreteScheduler, LTXPipeline

import animatic
from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.core.attention import fused_attention
from animatic.core.backbone import MemoryOptions
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.types import AttentionMapRequest, Step
from animatic.durations import at_rate
from animatic.errors import AnimaticError
from animatic.inversion import invert
from animatic.scene import Scene, Track

PROMPTS, NEGATIVES = ["the cat", "a dog"], ["red", "bear"]
SIZE = (9, 32, 64)
SCENE = Scene("the cat and a dog", (Track("cat", ((0, 0, 1 / 3, 0.5),) * 3),))
STEP = Step(0, 4, 900.0, noise=0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.ltx(tmp_path_factory.mktemp("ltx") / "ltx")


@pytest.fixture
def model(folder):
    return load(str(folder))


def stock(folder, x, output, guidance, **more):
    """What diffusers' own pipeline makes of the same noise; its latents are packed."""
    pipe = LTXPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        prompt=PROMPTS, negative_prompt=NEGATIVES, latents=x.flatten(2).transpose(1, 2).clone(), num_inference_steps=4,
        guidance_scale=guidance, num_frames=SIZE[0], height=SIZE[1], width=SIZE[2], max_sequence_length=16,
        output_type=output, **more,
    ).frames  # fmt: skip


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("dynamic", [True, False])
def test_the_pipeline_of_diffusers(tmp_path, guidance, dynamic):
    folder = tiny.ltx(tmp_path / "ltx", dynamic)
    model = load(str(folder))
    x = model.noise([0, 1], *SIZE)
    cond = model.encode(PROMPTS, NEGATIVES)
    made = sample(model, model.schedule(4), x, cond, [Guidance(guidance)])
    theirs = stock(folder, x, "latent", guidance)
    assert close(made.flatten(2).transpose(1, 2), theirs, RUN)


@pytest.mark.parametrize("timestep", [False, True])
def test_decoding_is_the_pipelines(tmp_path, timestep):
    """Decoders of 0.9.1 and later read a timestep, which is 0 as in the pipeline."""
    folder = tiny.ltx(tmp_path / "ltx", timestep=timestep)
    model = load(str(folder))
    x = model.noise([0, 1], *SIZE)
    made = sample(model, model.schedule(4), x, model.encode(PROMPTS, NEGATIVES), [Guidance(3.0)])
    pixels = torch.from_numpy(stock(folder, x, "np", 3.0)) * 255
    assert (model.decode(made).float() - pixels).abs().max() <= 0.5 + 1e-3  # theirs is not rounded


def test_levels_depend_on_the_size(model):
    small = model.schedule(8).fitted(model.noise([0], *SIZE))
    native = model.schedule(8)
    theirs = FlowMatchEulerDiscreteScheduler.from_config(model.scheduler.config)
    shift = 0.95 + (3 * 4 * 8 - 1024) * (2.05 - 0.95) / (4096 - 1024)  # 3 latent frames of 4 x 8 cells
    theirs.set_timesteps(8, sigmas=np.linspace(1, 1 / 8, 8), mu=shift)
    assert [step.t for step in small][:-1] == pytest.approx(theirs.timesteps.tolist())
    assert [step.noise for step in native][1] > [step.noise for step in small][1] + 0.05
    assert native.fitted(model.noise([0], *SIZE)).again(2)._grid == (3, 4, 8)
    with pytest.raises(AnimaticError, match="no shift by the size of a video"):
        model.schedule(8, "FlowMatchHeunDiscreteScheduler")
    with pytest.raises(AnimaticError, match=r"steps is 1; .* takes at least 2"):
        model.schedule(1)


def test_pixels_to_latents_are_normalised(model):
    pixels = torch.randint(0, 256, (1, 9, 32, 48, 3), dtype=torch.uint8)
    latents = model.to_latents(pixels)
    video = pixels.movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        encoded = model.vae.encode(video).latent_dist.mode()
    theirs = LTXPipeline._normalize_latents(encoded, model.vae.latents_mean, model.vae.latents_std)
    assert latents.shape == (1, 4, 3, 4, 6) and close(latents, theirs)


def test_padding_is_not_attended_to(model):
    x, cond = model.noise([0], *SIZE), model.encode(["the cat"], [""]).positive
    states, present = cond.text[..., :-1], cond.text[..., -1:]
    assert 0 < present.sum() < present.numel()
    louder = replace(cond, text=torch.cat([states + 50 * (1 - present), present], -1))
    assert close(model(x, STEP, cond, fused_attention), model(x, STEP, louder, fused_attention))


def test_maps_change_nothing_and_are_probabilities(model):
    x, cond = model.noise([0], *SIZE), model.encode(["the cat"], [""]).positive
    plain = model(x, STEP, cond, fused_attention)
    tokens = torch.tensor([model.text.positions("the cat", "cat")])
    request = AttentionMapRequest(tokens)
    assert close(model(x, STEP, replace(cond, map_request=request), fused_attention), plain)
    assert len(request.found) == len(model.hooks.text_layers) == 2
    for found in request.found.values():
        assert 0 <= found.min() < found.max() <= 1


def run_of(model, x, cond):
    return Run(model, model.schedule(4).fitted(x), x, cond, (0,), (SCENE,), 3.0)


@pytest.mark.parametrize("method", ["lvd", "boxdiff", "layout-attention", "multidiffusion"])
def test_methods_have_an_effect(folder, method):
    options = {"steps": 2, "frames": 9, "size": (48, 32)}
    plain, controlled = (animatic.render(SCENE, str(folder), name, 1, **options) for name in ("none", method))
    assert (plain.frames != controlled.frames).any()


def test_layout_attention_moves_attention_into_the_box(model):
    x, cond = model.noise([0], *SIZE), model.encode([SCENE.prompt], [""])
    bound = LayoutAttention().begin(run_of(model, x, cond))
    positive = cond.positive
    plain, moved = (
        model(x, STEP, bound.condition(cond, STEP).positive if on else positive, bound_attend(bound, on))
        for on in (False, True)
    )
    assert (plain - moved).abs().max() > 1e-4


def bound_attend(control, on):
    """The attention of a control, or the plain one."""
    if not on:
        return fused_attention
    return lambda *call, **more: control.attend(fused_attention, *call, **more)


def test_a_video_is_inverted_and_comes_back(model):
    """Deterministic solvers there and back on the levels of this size."""
    x, cond = model.noise([0], *SIZE), model.encode(["the cat"], [""])
    latents = sample(model, model.schedule(20), x, cond, [Guidance(1.0)])
    noise = invert(latents, cond, model, 20)
    again = sample(model, model.schedule(20), noise, cond, [Guidance(1.0)])
    assert (again - latents).abs().mean() < 0.02 * latents.abs().mean()


def test_a_loaded_pipeline_is_a_model(folder):
    pipe = LTXPipeline.from_pretrained(folder)
    model = animatic.load(pipe)
    x = model.noise([0, 1], *SIZE)
    made = sample(model, model.schedule(4), x, model.encode(PROMPTS, NEGATIVES), [Guidance(3.0)])
    assert close(made.flatten(2).transpose(1, 2), stock(folder, x, "latent", 3.0), RUN)


def test_saving_memory_changes_nothing_else(folder):
    """Blocks are computed twice where gradients are wanted."""
    options = {"steps": 2, "frames": 9, "size": (64, 32)}
    plain = animatic.render(SCENE, load(str(folder)), "lvd", 1, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="saving memory changes nothing")
        saving = load(str(folder), memory=MemoryOptions(save_memory=True))
    saved = animatic.render(SCENE, saving, "lvd", 1, **options)
    assert np.abs(plain.frames.astype(int) - saved.frames).max() <= 1


@pytest.mark.parametrize("rate", [8, 25, 50])
def test_frame_rates_are_those_of_the_pipeline(folder, model, rate):
    """Positions are in seconds: `fps` is diffusers' `frame_rate`."""
    x = model.noise([0, 1], *SIZE)
    at = at_rate(model, rate)
    made = sample(at, at.schedule(4), x, at.encode(PROMPTS, NEGATIVES), [Guidance(3.0)])
    theirs = stock(folder, x, "latent", 3.0, frame_rate=rate)
    assert close(made.flatten(2).transpose(1, 2), theirs, RUN)


OPTIONS = {"steps": 3, "frames": 9, "size": (64, 32), "output_type": "latent"}


def test_frames_that_fill_a_scene_have_its_rate(model):
    """9 frames in 0.5 seconds are 18 a second, requested or not: so that a file's own request makes it again."""
    scene = replace(SCENE, seconds=0.5)
    filled = animatic.render(scene, model, "none", 1, **OPTIONS)
    assert close(filled, animatic.render(scene, model, "none", 1, fps=18, **OPTIONS))
    assert not close(filled, animatic.render(scene, model, "none", 1, fps=25, **OPTIONS))


def test_a_batch_has_one_rate(model):
    scenes = [replace(SCENE, seconds=seconds) for seconds in (0.5, 1.0)]
    options = {"steps": 2, "frames": 9, "size": (64, 32)}
    with pytest.raises(AnimaticError, match="clips of one batch have 9 to 18 frames a second, which ltx reads"):
        animatic.render_batch(scenes, model, "none", [1, 2], **options)
    assert len(animatic.render_batch(scenes, model, "none", [1, 2], fps=25, **options)) == 2


def test_a_folder_like_no_known_model_is_used_as_its_kind(model):
    assert (model.defaults.steps, model.defaults.guidance, model.geometry.fps) == (50, 3.0, 25.0)
