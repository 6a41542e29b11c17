"""Stable Diffusion 3 and 3.5 are diffusers' own pipeline, and controls reach both streams of their attention."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import StableDiffusion3Pipeline

from animatic.backbones import PRESETS, load
from animatic.backbones.identity import known_by_config
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.core.attention import fused_attention
from animatic.core.backbone import MemoryOptions
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.text import truncating
from animatic.core.types import AttentionMapRequest, Step
from animatic.errors import AnimaticError
from animatic.rendering import edit, render
from animatic.scene import Scene, Track

PROMPTS = ["the cat", "a dog!"]
SCENE = Scene("the cat and a dog", (Track("cat", ((0, 0, 0.5, 0.5),)),))
STEP = Step(0, 4, 900.0, noise=0.9)
CLIP = 77  # tokens of CLIP before those of T5


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


def test_the_pixels_of_diffusers(folder, model):
    x = model.noise([0, 1], 1, 64, 48)
    made = sample(model, model.schedule(4), x, model.encode(PROMPTS, ["", ""]), [Guidance(6.0)])
    pixels = torch.from_numpy(stock(folder, x, None, 6.0, "np")) * 255
    assert (model.decode(made)[:, 0].float() - pixels).abs().max() <= 0.5 + 1e-3  # theirs is not rounded


def test_pixels_to_latents_and_back_have_the_shift(folder, model):
    pixels = torch.randint(0, 256, (1, 1, 64, 64, 3), dtype=torch.uint8)
    vae = StableDiffusion3Pipeline.from_pretrained(folder).vae
    with torch.no_grad():
        mean = vae.encode(pixels[:, 0].movedim(-1, 1) / 127.5 - 1).latent_dist.mode()
    assert close(model.to_latents(pixels)[:, :, 0], (mean - 0.06) * 1.5)


def test_a_phrase_is_found_in_both_texts(model):
    """CLIP's letters, then T5's words; the states at both differ where the word does."""
    positions = model.text.positions(SCENE.prompt, "cat")
    in_clip = [p for p in positions if p < CLIP]
    in_t5 = [p for p in positions if p >= CLIP]
    assert len(in_clip) == 3 and len(in_t5) == 1 and model.text.limit == CLIP + 16
    cat, dog = model.encode([SCENE.prompt, "the dog and a dog"], ["", ""]).positive.text
    assert all(not torch.allclose(cat[p], dog[p], atol=1e-3) for p in positions)
    ids = model.text.token_ids(SCENE.prompt)
    assert [ids[p] for p in in_t5] == [model.text.t5.tokenizer("cat")["input_ids"][0]]


def test_long_prompts(model):
    """CLIP is cut at its 77 tokens, letters here; T5 reads on to its own limit, and no further."""
    prompt = "cat and dog and bear and two red cats"
    long = f"{prompt} " * 3
    with pytest.raises(AnimaticError, match=r"has \d+ tokens; .* reads at most 16"):
        model.encode([long], [""])
    with pytest.warns(UserWarning, match="the rest is cut as the original cuts it"):
        states = truncating(model).encode([long], [""]).text
    assert states.shape == (2, CLIP + 16, 32)
    assert not model.text.truncate and not model.text.t5.truncate


def test_maps_are_the_softmax_and_change_nothing(model):
    x, cond = model.noise([0], 1, 64, 48), model.encode([SCENE.prompt], [""])
    wanted, seen = torch.tensor([[2, 80], [3, 81]]), {}

    def listen(layer, q, k, v, mask):
        if layer.kind == "joint":
            p = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)[:, :, layer.text_keys.stop :]
            seen[layer.layer] = torch.stack([p[i][..., wanted[i]] for i in range(2)])
        return fused_attention(layer, q, k, v, mask)

    request = AttentionMapRequest(wanted)
    with torch.no_grad():
        plain = model(x[[0, 0]], STEP, cond, fused_attention)
        asked = model(x[[0, 0]], STEP, replace(cond, map_request=request), listen)
    assert close(asked, plain) and request.found.keys() == seen.keys() and len(seen) == 3
    for name, p in seen.items():
        assert request.found[name].shape == (2, 1, 2, 4, 3, 2)
        assert close(request.found[name].flatten(3, 4)[:, 0], p)


def test_layout_attention_is_a_bias_on_the_logits(model):
    """Its channels in queries and keys against the bias written out, tokens x tokens; words of CLIP and of T5."""
    x, cond = model.noise([0], 1, 64, 48), model.encode([SCENE.prompt], [""])
    control = LayoutAttention().begin(Run(model, model.schedule(4), x, scenes=[SCENE]))
    errors = []

    def listen(layer, q, k, v, mask):
        out = control.attend(fused_attention, layer, q, k, v, mask)
        if layer.kind == "joint":
            boxes = control._targets.masks(*layer.grid[1:])[0, :1].flatten()
            bias = torch.zeros(2, 1, q.shape[2], k.shape[2])
            for token in model.text.positions(SCENE.prompt, "cat"):
                bias[1, 0, q.shape[2] - len(boxes) :, token] = 0.9 * (12 * boxes - 8)
            errors.append((out - fused_attention(layer, q, k, v, bias)).abs().max())
        return out

    with torch.no_grad():
        model(x[[0, 0]], STEP, cond, listen)
    assert len(errors) == 3 and max(errors) < 1e-5


def test_maps_of_words(model):
    heats = {}
    maps = AttentionMaps(lambda sample, phrase, heat: heats.update({phrase: heat}))
    x, cond = model.noise([0], 1, 64, 48), model.encode([SCENE.prompt], [""])
    made = sample(model, model.schedule(4), x, cond, [maps, Guidance(6.0)], scenes=[SCENE])
    assert heats["cat"].shape == x.shape[2:] and heats["cat"].max() == 1
    assert close(made, sample(model, model.schedule(4), x, cond, [Guidance(6.0)]), RUN)


@pytest.mark.parametrize(
    ("method", "least"),  # in levels of 255: BoxDiff's corners move a random network by one
    [("lvd", 2), ("lvd:weak", 2), ("layout-attention", 2), ("multidiffusion", 2), ("lmd", 2), ("boxdiff", 0),
     ("backward-guidance", 0)],
)  # fmt: skip
def test_methods_that_run(model, method, least):
    plain = render(SCENE, model, "none", 1, steps=4).frames.astype(int)
    made = render(SCENE, model, method, 1, steps=4).frames
    assert made.shape == (1, 64, 64, 3) and np.abs(made - plain).max() > least


@pytest.mark.parametrize("method", ["gligen", "lmd+", "lvd-gligen", "lvd+", "ditctrl+gligen"])
def test_methods_that_need_boxes_as_conditioning_are_refused(model, method):
    with pytest.raises(AnimaticError, match="needs a model that is conditioned on boxes"):
        render(SCENE, model, method, 1, steps=1)


def test_stories_are_refused(model):
    with pytest.raises(AnimaticError, match="takes one prompt a video; want a single scene"):
        render([Scene("a cat"), Scene("a dog")], model, "ditctrl", 1, steps=1)


def test_edits_share_keys_and_values(model):
    video = render(SCENE, model, "none", 1, steps=4)
    other = edit(video, swap={"cat": "bear"}, model=model).frames
    assert np.abs(other.astype(int) - video.frames).max() > 2


def test_pictures_larger_than_the_table_of_positions(model):
    with pytest.raises(AnimaticError, match=r"size is 272x64; .* takes up to 256x256"):
        render(SCENE, model, "none", 1, steps=1, size=(272, 64))
    with pytest.raises(AnimaticError, match="width is 72; this model takes multiples of 16 pixels"):
        render(SCENE, model, "none", 1, steps=1, size=(72, 64))


def test_a_folder_without_t5_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "m")
    shutil.rmtree(copy / "text_encoder_3")
    with pytest.raises(AnimaticError, match="no text_encoder_3; want Stable Diffusion 3 with all three text encoders"):
        load(str(copy), "cpu")


def test_offloading_moves_all_encoders(folder, model):
    lazy = load(str(folder), "cpu", MemoryOptions(offload=True))
    assert close(lazy.encode(["a dog"], ["red"]).text, model.encode(["a dog"], ["red"]).text)
    assert len(lazy.text.encoders) == 3


@pytest.mark.parametrize(("name", "layers", "positions"), [("sd3.5-medium", 24, 384), ("sd3.5-large", 38, 192)])
def test_published_configurations_are_known(name, layers, positions):
    config = {
        "_class_name": "SD3Transformer2DModel", "sample_size": 128, "patch_size": 2, "in_channels": 16,
        "num_layers": layers, "num_attention_heads": layers, "attention_head_dim": 64, "out_channels": 16,
        "pos_embed_max_size": positions, "qk_norm": "rms_norm",
    }  # fmt: skip
    assert known_by_config(config) == (name,) and PRESETS[name].geometry.patch == (1, 2, 2)


def test_bfloat16(folder):
    half = load(str(folder), "cpu", MemoryOptions(dtype="bfloat16"))
    assert half.noise([0], 1, 64, 64).dtype == torch.float32
    for method in ("lvd", "layout-attention"):
        assert render(SCENE, half, method, 1, steps=2).frames.shape == (1, 64, 64, 3)
