"""Stable Diffusion XL is diffusers' own pipeline, and the methods of image UNets run on it."""

import json
import re
from fnmatch import fnmatchcase

import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

from animatic.backbones import PRESETS, load
from animatic.backbones.identity import known_by_config
from animatic.backbones.sdxl import POOLED
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.grounding import Gligen
from animatic.controls.guidance import Guidance
from animatic.core.attention import fused_attention
from animatic.core.backbone import MemoryOptions
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.types import Step
from animatic.errors import AnimaticError
from animatic.finishing.refine import Refine
from animatic.finishing.stage import StageContext
from animatic.methods import METHODS, method_named
from animatic.rendering import edit, render
from animatic.scene import Scene, Track

PROMPTS = ["the cat!", "a dog"]
SCENE = Scene(
    "the cat and a dog", (Track("cat", ((0, 0, 0.5, 0.5),)), Track("dog", ((0.5, 0.5, 1, 1),))), background="grass"
)
CARD = {
    "family": "sdxl",
    "geometry": {"frames": 1, "height": 128, "width": 128, "max_frames": 1},
    "defaults": {"steps": 4, "guidance": 5.0},
}

# the published config.json, as far as it decides the layers
PUBLISHED = {
    "sample_size": 128, "in_channels": 4, "out_channels": 4, "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10), "layers_per_block": 2,
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sdxl(tmp_path_factory.mktemp("xl") / "xl")


@pytest.fixture(scope="module")
def model(folder):
    return load(str(folder), "cpu")


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """The same with a card of its family."""
    made = tiny.sdxl(tmp_path_factory.mktemp("xl") / "named")
    (made / "animatic.json").write_text(json.dumps(CARD))
    return load(str(made), "cpu")


def stock(folder, x, negatives, guidance, scheduler=EulerDiscreteScheduler, output="latent"):
    """What diffusers' own pipeline makes of the same noise."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    made = pipeline(
        prompt=PROMPTS, negative_prompt=negatives, latents=x[:, :, 0].clone(), num_inference_steps=4,
        guidance_scale=guidance, height=64, width=48, output_type=output,
    )  # fmt: skip
    return made.images


@pytest.mark.parametrize("scheduler", ["euler", "ddim"])
@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("negatives", [None, ["red", "bear!"]], ids=["none", "given"])
def test_the_pipeline_of_diffusers(folder, model, scheduler, guidance, negatives):
    x = model.noise([0, 1], 1, 64, 48)
    cond = model.encode(PROMPTS, negatives or ["", ""])
    made = sample(model, model.schedule(4, scheduler), x, cond, [Guidance(guidance)])
    cls = {"euler": EulerDiscreteScheduler, "ddim": DDIMScheduler}[scheduler]
    theirs = stock(folder, x, negatives, guidance, cls)
    assert close(made[:, :, 0], theirs, RUN)
    assert (made[:, :, 0] - theirs).abs().max() <= 1e-5 * max(1.0, float(theirs.abs().max()))


def test_the_pixels_of_diffusers(folder, model):
    x = model.noise([0, 1], 1, 64, 48)
    made = sample(model, model.schedule(4), x, model.encode(PROMPTS, ["", ""]), [Guidance(6.0)])
    pixels = torch.from_numpy(stock(folder, x, None, 6.0, output="np")) * 255
    assert (model.decode(made)[:, 0].float() - pixels).abs().max() <= 0.5 + 1e-3  # theirs is not rounded


def test_no_negative_prompt_is_zeros_where_the_folder_says_so(folder, model, tmp_path):
    """Without `force_zeros_for_empty_prompt` it is the encoding of "", as in diffusers."""
    cond = model.encode(["a dog", ""], ["", "red"])
    assert not cond.text[0].any() and not cond.extra[POOLED][0].any()
    assert cond.text[1].any() and cond.text[3].any() and cond.extra[POOLED][3].any()  # an empty prompt is encoded

    other = tiny.sdxl(tmp_path / "encoded", zeros=False)
    encoding = load(str(other), "cpu")
    x = encoding.noise([0, 1], 1, 64, 48)
    made = sample(encoding, encoding.schedule(4), x, encoding.encode(PROMPTS, ["", ""]), [Guidance(6.0)])
    theirs = stock(other, x, None, 6.0)
    assert close(made[:, :, 0], theirs, RUN)
    assert not torch.allclose(theirs, stock(folder, x, None, 6.0), atol=1e-2)


def test_size_is_a_condition(model):
    """The network is told how large the picture is: that of another size differs by more than its cells."""
    cond = model.encode(["a dog"], [""])
    added = model.added_conditioning(torch.zeros(2, 4, 1, 8, 6), cond)
    assert added["time_ids"].tolist() == [[64, 48, 0, 0, 64, 48]] * 2
    assert close(added["text_embeds"], cond.extra[POOLED])


def test_prompts_longer_than_clip_are_encoded_in_chunks(model):
    """Every letter is a token here. The pooled embedding is the first chunk's."""
    long = "cat and dog " * 12
    with pytest.warns(UserWarning, match="encoded in 2 chunks"):
        cond = model.encode([long], ["red"])
    assert cond.text.shape == (2, 154, tiny.WIDTH + 8)
    first, second = (encoder(ids).hidden_states[-2] for encoder, ids in _second_chunks(model, long))
    assert close(cond.text[1, 77:], torch.cat([first[0], second[0]], -1).detach())


def _second_chunks(model, prompt):
    for part in model.text.parts():
        ids = torch.tensor([part._framed(part._chunks(prompt)[1])])
        yield lambda ids, encoder=part.encoder: encoder(input_ids=ids, output_hidden_states=True), ids


RUNNING = ("lvd", "lvd:weak", "layout-attention", "lmd", "boxdiff", "backward-guidance", "multidiffusion")


@pytest.mark.parametrize("method", RUNNING)
def test_methods_of_image_models_run(named, method):
    plain = render(SCENE, named, "none", 1, steps=4).frames.astype(int)
    made = render(SCENE, named, method, 1, steps=4).frames
    assert made.shape == (1, 128, 128, 3) and np.abs(made - plain).max() > 2


@pytest.mark.parametrize("method", [name for name in METHODS if "gligen" in name or "+" in name.replace("+lvd", "")])
def test_methods_that_need_boxes_as_conditioning_are_refused(named, method):
    with pytest.raises(AnimaticError, match=re.escape(f"method '{method}' needs a model that is conditioned on boxes")):
        render(SCENE, named, method, 1, steps=1)


def test_stories_are_refused(named):
    with pytest.raises(AnimaticError, match="takes one prompt a video; want a single scene"):
        render([Scene("a cat"), Scene("a dog")], named, "ditctrl", 1, steps=1)


def test_layers_of_the_methods_are_those_of_the_lowest_level():
    """Of the network of published size, whose lowest level is 32 x 32 at 1024 pixels."""
    with torch.device("meta"):
        network = UNet2DConditionModel(**PUBLISHED)
    assert known_by_config({**network.config, "down_block_types": list(PUBLISHED["down_block_types"]),
                            "up_block_types": list(PUBLISHED["up_block_types"]), "block_out_channels": [320, 640, 1280],
                            "_class_name": "UNet2DConditionModel"}) == ("sdxl",)  # fmt: skip
    names = [name.removesuffix(".processor") for name in network.attn_processors if ".attn2." in name]
    assert len(names) == 70
    lowest = [name for name in names if name.startswith(("down_blocks.2", "mid_block", "up_blocks.0"))]

    class Published:
        family = PRESETS["sdxl"].family
        architecture = ""

    for method, count in (("backward-guidance", 4), ("boxdiff", 50), ("lmd", 4), ("boxdiff:published", 50)):
        controls = method_named(method).on(Published())
        energy = next(getattr(c, "energy", c) for c in controls if hasattr(c, "energy") or hasattr(c, "terms"))
        found = [name for name in names if any(fnmatchcase(name, glob) for glob in energy.layers)]
        assert len(found) == count and set(found) <= set(lowest), method


def test_maps_of_words(named):
    heats = {}
    maps = AttentionMaps(lambda sample, phrase, heat: heats.update({phrase: heat}))
    x, cond = named.noise([0], 1, 128, 128), named.encode([SCENE.prompt], [""])
    made = sample(named, named.schedule(4), x, cond, [maps, Guidance(6.0)], scenes=[SCENE])
    assert heats["cat"].shape == x.shape[2:] and heats["cat"].max() == 1
    assert close(made, sample(named, named.schedule(4), x, cond, [Guidance(6.0)]), RUN)


def test_edits_follow_the_source(named):
    video = render(SCENE, named, "none", 1, steps=4)
    other = edit(video, swap={"cat": "bear"}, model=named).frames
    assert np.abs(other.astype(int) - video.frames).max() > 2


def test_it_refines_pictures_too(folder, named):
    video = render(SCENE, named, "none", 1, steps=2)
    stage = Refine(model=str(folder), strength=0.5, steps=2, guidance=2.0, width=48, height=40)
    assert stage(video, StageContext(prompt="a ball")).frames.shape == (1, 40, 48, 3)
    assert Refine().resolved("sdxl").model == "sdxl-refiner"


def test_offloading_moves_both_encoders(folder, model):
    lazy = load(str(folder), "cpu", MemoryOptions(offload=True))
    cond = model.encode(["a dog"], ["red"])
    assert close(lazy.encode(["a dog"], ["red"]).text, cond.text) and len(lazy.text.encoders) == 2
    x, step = model.noise([0], 1, 64, 64), Step(0, 4, 900.0, noise=0.9)
    with torch.no_grad():
        answers = [m(x[[0, 0]], step, cond, fused_attention) for m in (model, lazy)]
    assert close(*answers)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_has_an_autoencoder_of_its_own(tmp_path, dtype):
    """SDXL's autoencoder says `force_upcast`: it computes in float32 whatever the network."""
    made = tiny.sdxl(tmp_path / "xl")
    half = load(str(made), "cpu", MemoryOptions(dtype=dtype))
    assert half.unet.dtype == half.text.second.encoder.dtype == getattr(torch, dtype)
    assert half.vae.dtype == torch.float32 and half.vae.config.force_upcast
    if dtype == "bfloat16":
        assert render(SCENE, half, "lvd", 1, steps=2, size=(64, 64)).frames.shape == (1, 64, 64, 3)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    made = tiny.sdxl(tmp_path_factory.mktemp("xl") / "gated", gated=True)
    (made / "animatic.json").write_text(json.dumps(CARD))
    return load(str(made), "cpu")


def test_boxes_are_a_condition_as_in_igligen_xl(gated):
    """A phrase is the pooled state of CLIP-L beside the projected one of bigG; negative branches have no boxes."""
    control = Gligen().begin(Run(gated, gated.schedule(4), gated.noise([0], 1, 64, 64), scenes=[SCENE]))
    cond = gated.encode([SCENE.prompt], ["red"])
    x, step = gated.noise([0], 1, 64, 64)[[0, 0]], Step(0, 4, 900.0, noise=0.9)
    with torch.no_grad():
        made = gated(x, step, control.condition(cond, step), fused_attention)

        first, second = gated.text.parts()
        names = ["cat", "dog"]
        pooled = first.encoder(input_ids=first.tokens(names)).pooler_output
        projected = second.encoder(input_ids=second.tokens(names)).text_embeds
        phrases, boxes, masks = torch.zeros(2, 30, tiny.WIDTH + 8), torch.zeros(2, 30, 4), torch.zeros(2, 30)
        phrases[:, :2] = torch.cat([pooled, projected], -1)
        boxes[:, :2] = torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
        masks[1, :2] = 1
        boxes = {"boxes": boxes, "positive_embeddings": phrases, "masks": masks}
        network = StableDiffusionXLPipeline.from_pretrained(gated.reference).unet
        theirs = network(
            x[:, :, 0], 900.0, cond.text, added_cond_kwargs=gated.added_conditioning(x, cond),
            cross_attention_kwargs={"gligen": boxes},
        ).sample  # fmt: skip
        plain = gated(x, step, cond, fused_attention)
    assert close(made[:, :, 0], theirs) and not torch.allclose(made, plain, atol=1e-3)


@pytest.mark.parametrize("method", ["gligen", "lmd+", "lvd+"])
def test_methods_that_need_boxes_as_conditioning_run(gated, method):
    plain = render(SCENE, gated, "none", 1, steps=4).frames.astype(int)
    assert np.abs(render(SCENE, gated, method, 1, steps=4).frames - plain).max() > 2
    assert PRESETS["sdxl-gligen"].family == "sdxl"


def test_no_objects_are_no_boxes(gated):
    assert gated.text.phrase_embeddings([]).shape == (0, tiny.WIDTH + 8)
    assert render(Scene("grass"), gated, "gligen", 1, steps=1).frames.shape == (1, 128, 128, 3)
