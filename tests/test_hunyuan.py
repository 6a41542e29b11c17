"""HunyuanVideo 1.5 is diffusers' own pipeline, and controls reach its words among masked tokens."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import HunyuanVideo15Pipeline, HunyuanVideo15Transformer3DModel
from diffusers.pipelines.hunyuan_video1_5 import pipeline_hunyuan_video1_5 as original

from animatic.backbones import PRESETS, load
from animatic.backbones.hunyuan_text import SYSTEM, quotes_in
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
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.rendering import edit, render
from animatic.scene import Scene, Track

PROMPTS = ['the cat has a "sign"', "a dog"]
SCENE = Scene("the cat and a dog", (Track("cat", ((0, 0, 1 / 3, 0.5),) * 3),))
STEP = Step(0, 4, 900.0, noise=0.9)
SIZE = (9, 32, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.hunyuan(tmp_path_factory.mktemp("hunyuan") / "m")


@pytest.fixture(scope="module")
def model(folder):
    return load(str(folder), "cpu")


def stock(folder, model, x, negatives, guidance, output="latent"):
    """What diffusers' own pipeline makes of the same noise; its numbers of tokens are those of the tiny tokenizers."""
    pipeline = HunyuanVideo15Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.prompt_template_encode_start_idx = model.text.words.tokens_before
    pipeline.tokenizer_2_max_length, pipeline.tokenizer_max_length = model.text.sizes
    pipeline.guider = pipeline.guider.new(guidance_scale=guidance)
    pipeline.vae.enable_slicing()  # several clips at once fail in its decoder
    frames, height, width = SIZE
    made = pipeline(
        prompt=PROMPTS, negative_prompt=negatives, latents=x.clone(), num_inference_steps=4, num_frames=frames,
        height=height, width=width, output_type=output,
    )  # fmt: skip
    return made.frames


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("negatives", [None, ["red", 'a "bear"']], ids=["none", "given"])
def test_the_pipeline_of_diffusers(folder, model, guidance, negatives):
    x = model.noise([0, 1], *SIZE)
    cond = model.encode(PROMPTS, negatives or ["", ""])
    made = sample(model, model.schedule(4), x, cond, [Guidance(guidance)])
    theirs = stock(folder, model, x, negatives, guidance)
    assert close(made, theirs, RUN) and (made - theirs).abs().max() <= 1e-5


def test_the_pixels_of_diffusers(folder, model):
    x = model.noise([0, 1], *SIZE)
    made = sample(model, model.schedule(4), x, model.encode(PROMPTS, ["", ""]), [Guidance(6.0)])
    pixels = torch.from_numpy(stock(folder, model, x, None, 6.0, "np")) * 255
    assert (model.decode(made).float() - pixels).abs().max() <= 0.5 + 1e-3  # theirs is not rounded


def test_pixels_to_latents(folder, model):
    pixels = torch.randint(0, 256, (2, 9, 32, 48, 3), dtype=torch.uint8)
    vae = HunyuanVideo15Pipeline.from_pretrained(folder).vae
    with torch.no_grad():
        one = pixels[1:].movedim(-1, 1) / 127.5 - 1
        mean = vae.encode(one).latent_dist.mode()
    assert close(model.to_latents(pixels)[1:], mean * 1.03682)


def test_noise_levels_are_even_before_the_shift(model):
    levels = [float(step.noise) for step in model.schedule(4)]
    even = np.array([1.0, 0.75, 0.5, 0.25, 0.0])
    assert np.allclose(levels, 5 * even / (1 + 4 * even), atol=1e-6)
    named = [float(step.noise) for step in model.schedule(4, "flow")]
    assert np.allclose(named, levels)
    assert type(model.scheduler) is diffusers.FlowMatchEulerDiscreteScheduler  # it is saved as its own class


def test_the_chat_is_the_one_of_diffusers(model):
    pipeline = HunyuanVideo15Pipeline.__init__
    assert SYSTEM in pipeline.__code__.co_consts
    words = model.text.words
    for prompt in ("the cat", ""):
        theirs = words.tokenizer.apply_chat_template(
            original.format_text_input([prompt], SYSTEM)[0], add_generation_prompt=True, tokenize=True, return_dict=True
        )
        assert theirs["input_ids"][words.tokens_before :] == words.token_ids(prompt)


@pytest.mark.parametrize("prompt", ['a "red" sign', 'a "red" and “red” and “bear”', "no quotes", 'an empty ""'])
def test_glyphs_are_those_of_diffusers(model, prompt):
    theirs = original.extract_glyph_texts(prompt)
    glyphs = model.text.glyphs
    expected = [] if theirs is None else glyphs.tokenizer(theirs)["input_ids"]
    assert glyphs.token_ids(prompt) == expected and bool(quotes_in(prompt)) == (theirs is not None)


def test_a_phrase_is_found_where_the_network_has_it(model):
    """Glyphs come first: a byte a token; then the words, letters here."""
    prompt = "the cat has “é cat”"
    positions = model.text.positions(prompt, "cat")
    ids = model.text.token_ids(prompt)
    glyphs, words = positions[:3], positions[3:]
    assert bytes(ids[p] - 3 for p in glyphs) == b"cat"  # ByT5 has three tokens before the bytes
    assert model.text.words.tokenizer.decode([ids[p] for p in words]) == "cat"
    assert model.text.positions(prompt, "bear") == ()
    assert model.text.positions("the cat", "cat") == (4, 5, 6)
    assert model.text.tokens([prompt])[0, : len(ids)].tolist() == ids


def test_long_prompts(model):
    long = "the cat " * 9
    with pytest.raises(AnimaticError, match=r"has \d+ tokens; .* reads at most 64"):
        model.encode([long], [""])
    with pytest.raises(AnimaticError, match=r"has \d+ tokens; .* reads at most 32"):
        model.encode([f'"{"cat" * 9}"'], [""])
    cut = truncating(model)
    with pytest.warns(UserWarning, match="the rest is cut as the original cuts it"):
        states = cut.encode([long], [""]).text
    assert states.shape == (2, 96, 33) and states[1, :, -1].sum() == 64
    assert max(cut.text.positions(long + "dog", "cat")) < 64 and cut.text.positions(long + "dog", "dog") == ()
    assert not model.text.truncate and not model.text.words.truncate


def test_absent_tokens_are_not_attended_to(model):
    """Neither what padding holds, nor how much of it there is, changes the prediction."""
    x, cond = model.noise([0], *SIZE), model.encode([SCENE.prompt], [""]).positive
    present = cond.text[..., -1:] > 0
    other = cond.text + torch.where(present, 0.0, 7.0)
    other[..., -1] = cond.text[..., -1]
    with torch.no_grad():
        plain = model(x, STEP, cond, fused_attention)
        assert close(model(x, STEP, replace(cond, text=other), fused_attention), plain)
    assert 0 < present.sum() < 64


def test_maps_are_the_softmax_and_change_nothing(model):
    x, cond = model.noise([0], *SIZE), model.encode([SCENE.prompt], [""])
    wanted, seen = torch.tensor([[2, 5], [3, 6]]), {}

    def listen(layer, q, k, v, mask):
        logits = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf)
        p = logits.softmax(-1)[:, :, layer.text_keys.stop :]
        seen[layer.layer] = torch.stack([p[i][..., wanted[i]] for i in range(2)])
        return fused_attention(layer, q, k, v, mask)

    request = AttentionMapRequest(wanted)
    with torch.no_grad():
        plain = model(x[[0, 0]], STEP, cond, fused_attention)
        asked = model(x[[0, 0]], STEP, replace(cond, map_request=request), listen)
    assert close(asked, plain) and request.found.keys() == seen.keys() and len(seen) == 2
    for name, p in seen.items():
        assert request.found[name].shape == (2, 3, 2, 2, 3, 2)
        assert close(request.found[name].movedim(2, 1).flatten(2, 4), p)


def test_layout_attention_draws_the_cells_of_the_box_to_the_words(model):
    x, cond = model.noise([0], *SIZE), model.encode([SCENE.prompt], [""])
    control = LayoutAttention().begin(Run(model, model.schedule(4), x, scenes=[SCENE]))
    words = list(model.text.positions(SCENE.prompt, "cat"))

    def inside(attend):
        request = AttentionMapRequest(torch.tensor([words, words]))
        with torch.no_grad():
            model(x[[0, 0]], STEP, replace(cond, map_request=request), attend)
        by_cell = torch.stack([found[1].mean(1).sum(-1) for found in request.found.values()]).mean(0)
        return float(by_cell[:, :1, :1].sum() / by_cell.sum())

    def drawn(layer, q, k, v, mask):
        return control.attend(fused_attention, layer, q, k, v, mask)

    assert inside(drawn) > inside(fused_attention) + 0.05


def test_maps_of_words(model):
    heats = {}
    maps = AttentionMaps(lambda sample, phrase, heat: heats.update({phrase: heat}))
    x, cond = model.noise([0], *SIZE), model.encode([SCENE.prompt], [""])
    made = sample(model, model.schedule(4), x, cond, [maps, Guidance(6.0)], scenes=[SCENE])
    assert heats["cat"].shape == x.shape[2:] and heats["cat"].max() == 1
    assert close(made, sample(model, model.schedule(4), x, cond, [Guidance(6.0)]), RUN)


OPTIONS = {"steps": 2, "size": (48, 32), "frames": 9}


@pytest.mark.parametrize("method", ["lvd", "lvd:weak", "layout-attention", "multidiffusion", "lmd"])
def test_methods_that_run(model, method):
    plain = render(SCENE, model, "none", 1, **OPTIONS).frames.astype(int)
    made = render(SCENE, model, method, 1, **OPTIONS).frames
    assert made.shape == (9, 32, 48, 3) and np.abs(made - plain).max() > 1


@pytest.mark.parametrize("method", ["gligen", "lmd+", "lvd-gligen", "ditctrl+gligen"])
def test_methods_that_need_boxes_as_conditioning_are_refused(model, method):
    with pytest.raises(AnimaticError, match="needs a model that is conditioned on boxes"):
        render(SCENE, model, method, 1, **OPTIONS)


def test_edits_share_keys_and_values(model):
    video = render(SCENE, model, "none", 1, **{**OPTIONS, "steps": 4})
    other = edit(video, swap={"cat": "bear"}, model=model).frames
    assert np.abs(other.astype(int) - video.frames).max() > 1


def test_no_image(model):
    with pytest.raises(AnimaticError, match="reads no image"):
        model.with_image(torch.zeros(1, 1, 32, 48, 3), 9)


@pytest.mark.parametrize(
    ("part", "reason"),
    [("text_encoder_2", "no text_encoder_2; want HunyuanVideo 1.5 with both text encoders"),
     ("tokenizer_2", "no tokenizer_2; want HunyuanVideo 1.5 with both text encoders"),
     ("tokenizer/chat_template.jinja", "no chat template; want chat_template.jinja, or one in its config")],
)  # fmt: skip
def test_what_is_missing_is_said(folder, tmp_path, part, reason):
    copy = shutil.copytree(folder, tmp_path / "m", ignore=lambda _, names: {Path(part).name} & set(names))
    with pytest.raises(AnimaticError, match=reason):
        load(str(copy), "cpu")


def test_other_kinds_of_its_models_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "m")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "HunyuanVideo15ImageToVideoPipeline"}), "utf-8"
    )
    with pytest.raises(AnimaticError, match="is of a HunyuanVideo15ImageToVideoPipeline; want text-to-video"):
        load(str(copy), "cpu")
    config = {key: value for key, value in tiny.hunyuan_network().config.items() if not key.startswith("_")}
    HunyuanVideo15Transformer3DModel(**{**config, "use_meanflow": True}).save_pretrained(copy / "transformer")
    with pytest.raises(AnimaticError, match=r"is distilled to few steps \(use_meanflow\); want a model that is not"):
        load(str(copy), "cpu")


def test_offloading_moves_both_encoders(folder, model):
    lazy = load(str(folder), "cpu", MemoryOptions(offload=True))
    assert close(lazy.encode(PROMPTS[:1], ["red"]).text, model.encode(PROMPTS[:1], ["red"]).text)
    assert len(lazy.text.encoders) == 2


@pytest.mark.parametrize(("name", "target"), [("hunyuanvideo1.5-480p", 640), ("hunyuanvideo1.5-720p", 960)])
def test_published_configurations_are_known(name, target):
    config = {
        "_class_name": "HunyuanVideo15Transformer3DModel", "num_layers": 54, "num_attention_heads": 16,
        "target_size": target,
    }  # fmt: skip
    assert known_by_config(config) == (name,) and PRESETS[name].geometry.vae_spatial_ratio == 16


def test_bfloat16(folder):
    half = load(str(folder), "cpu", MemoryOptions(dtype="bfloat16"))
    assert half.noise([0], *SIZE).dtype == torch.float32
    for method in ("lvd", "layout-attention"):
        assert render(SCENE, half, method, 1, **OPTIONS).frames.shape == (9, 32, 48, 3)


def test_scenes_that_quote_differently_are_said_to_blend_badly(model):
    """Quoted words stand before all others, whose places they move."""
    with pytest.warns(AnimaticWarning, match=r"0 to .* tokens of quoted words; where they blend"):
        model.encode_stories([["a cat", 'a "red" cat']], [["", ""]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", AnimaticWarning)
        model.encode_stories([["a cat", "a dog"]], [["", ""]])


def guided_folder(folder, path, config):
    """A copy of a folder whose guider has `config` in place of its own values."""
    copy = shutil.copytree(folder, path)
    file = copy / "guider" / "guider_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | config), "utf-8")
    return copy


@pytest.mark.parametrize(
    ("config", "scale"),
    [({}, 6.0), ({"guidance_scale": 1.0}, 1.0), ({"enabled": False}, 1.0),
     ({"guidance_scale": 4, "use_original_formulation": True}, 5.0)],
    ids=["own", "distilled", "switched off", "of the paper"],
)  # fmt: skip
def test_guidance_is_the_guiders(folder, tmp_path, config, scale):
    made = load(str(guided_folder(folder, tmp_path / "m", config)), "cpu")
    assert made.defaults.guidance == scale and made.defaults.steps == 50


def test_a_guider_of_another_kind_is_said(folder, tmp_path):
    copy = guided_folder(folder, tmp_path / "m", {"_class_name": "SkipLayerGuidance", "stop": 0.5})
    with pytest.warns(AnimaticWarning, match="of this SkipLayerGuidance the scale 6 is used, not stop"):
        load(str(copy), "cpu")
    damaged = guided_folder(folder, tmp_path / "damaged", {"guidance_scale": "six"})
    with pytest.raises(AnimaticError, match=r"guidance_scale is 'six'; want a number, such as 6\.0"):
        load(str(damaged), "cpu")


def test_without_a_guider_it_is_the_published_one(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns("guider"))
    assert load(str(copy), "cpu").defaults == PRESETS["hunyuanvideo1.5-480p"].defaults


def test_a_card_goes_before_the_guider(folder, tmp_path):
    copy = guided_folder(folder, tmp_path / "m", {"guidance_scale": 1.0})
    (copy / "animatic.json").write_text(json.dumps({"model": "hunyuanvideo1.5-480p"}), "utf-8")
    assert load(str(copy), "cpu").defaults.guidance == 6.0
