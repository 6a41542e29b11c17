"""What a model is hangs on its card or its network's configuration, never on the name of its folder."""

import json
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from animatic.backbones import PRESETS, load
from animatic.backbones.card_values import defaults_of, geometry_of
from animatic.backbones.cogvideox import rotary_embedding
from animatic.backbones.convert import convert_vdp
from animatic.backbones.identity import KNOWN, known_by_card, known_by_config
from animatic.backbones.lora import apply_lora
from animatic.backbones.small_model import save_model
from animatic.errors import AnimaticError
from animatic.finishing.stages import stage_context, stages_of
from animatic.methods import METHODS, method_named
from animatic.rendering import render
from animatic.scene import Scene, Track
from animatic.training.fit import fit
from animatic.training.settings import TrainingSettings
from animatic.video import Video

MINI = Path(str(files("animatic") / "weights" / "mini"))
SCENE = Scene("a red ball", (Track("ball", ((0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.9, 0.9))),), seconds=1.0)
STILL = replace(SCENE, seconds=0.0, tracks=(Track("ball", ((0.1, 0.1, 0.5, 0.5),)),))
FOUR = ("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",)


def layout_of_modelscope(path, sample_size=32):
    """ModelScope's blocks, of few channels."""
    torch.manual_seed(0)
    network = UNet3DConditionModel(
        sample_size=sample_size, block_out_channels=(8, 8, 8, 8), down_block_types=FOUR, norm_num_groups=4,
        up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 3, cross_attention_dim=tiny.WIDTH,
        attention_head_dim=4, layers_per_block=2,
    )  # fmt: skip
    return tiny.folder(path, network)


def steering(model):
    """Every method's controls on a model, as text; those that it cannot have are left out."""
    found = {}
    for name in METHODS:
        try:
            found[name] = repr(method_named(name).on(model))
        except AnimaticError:
            continue
    return found


def test_a_copy_of_mini_under_another_name_is_mini(tmp_path):
    """The frames differ by a level at most: the same sums, but nobody promises where memory lies."""
    copy = load(str(shutil.copytree(MINI, tmp_path / "x-1.0")), "cpu")
    own = load("mini", "cpu")
    assert copy.name == "x-1.0" and copy.family == own.family == "mini"
    assert steering(copy) == steering(own) and len(steering(own)) > 10
    for method, scene in (("lvd", SCENE), ("lvd+", SCENE), ("boxdiff", STILL)):
        a, b = (render(scene, m, method, 3, steps=4).frames.astype(int) for m in (copy, own))
        assert np.abs(a - b).max() <= 1
    others = [render(SCENE, "mini", "none", 3, steps=4).frames.astype(int)]
    assert np.abs(others[0] - render(SCENE, own, "lvd", 3, steps=4).frames).max() > 20  # the method does something


def trained(tmp_path, **more):
    (tmp_path / "d").mkdir(exist_ok=True)
    for i in range(2):
        Video(np.full((1, 64, 64, 3), 80 * i, np.uint8)).save(tmp_path / "d" / f"{i}.png", scale=1)
        (tmp_path / "d" / f"{i}.txt").write_text("a red ball")
    settings = {
        "data": str(tmp_path / "d"), "out": str(tmp_path / "o"), "model": "mini", "frames": 1, "size": "64",
        "steps": 1, "batch_size": 2, "warmup_steps": 1, "sample_every": 0, "learning_rate": 1e-12,
        "weight_decay": 0.0, **more,
    }  # fmt: skip
    return fit(TrainingSettings(**settings))


def test_what_training_mini_writes_is_steered_like_mini(tmp_path):
    """A step so small that the weights stay: then the frames do too, to a level; grounding and habits are kept."""
    own, made = load("mini", "cpu"), load(str(trained(tmp_path)), "cpu")
    assert made.family == "mini" and made.defaults == own.defaults and made.words == own.words
    assert made.provides == own.provides and "grounding" in made.provides
    made.geometry = replace(made.geometry, frames=own.geometry.frames)  # it was trained on pictures
    assert steering(made) == steering(own)
    for method in ("lvd", "lvd+"):
        a, b = (render(SCENE, m, method, 3, steps=4).frames.astype(int) for m in (made, own))
        assert np.abs(a - b).max() <= 1


def test_a_lora_changes_no_settings(tmp_path):
    pytest.importorskip("peft", reason="the extra `train` is not installed")
    file = trained(tmp_path, lora=2, teach="robot")
    model = apply_lora(load("mini", "cpu"), file)
    assert model.name == "mini + lora:1" and model.family == "mini"
    assert steering(model) == steering(load("mini", "cpu"))


def test_modelscope_is_known_by_its_layout(tmp_path):
    """LVD's six layers and its strength, whatever the folder is called; two names, one result, by every method."""
    with pytest.warns(UserWarning, match=r"text-to-video-ms-1\.7b: taken for modelscope .* dpm\+\+; zeroscope "):
        model = load(str(layout_of_modelscope(tmp_path / "text-to-video-ms-1.7b")), "cpu")
    assert model.family == "modelscope"
    energy = method_named("lvd").on(model)[1]
    assert (len(energy.layers), energy.scale, energy.until) == (6, 5 * 267, 0.25)
    assert model.defaults == PRESETS["modelscope"].defaults and model.geometry == PRESETS["modelscope"].geometry

    other = shutil.copytree(tmp_path / "text-to-video-ms-1.7b", tmp_path / "zeroscope-mine")
    with pytest.warns(UserWarning, match="taken for modelscope"):
        renamed = load(str(other), "cpu")
    assert steering(renamed) == steering(model)
    small = {"steps": 2, "size": (64, 64), "frames": 2}
    for method in ("lvd", "layout-attention"):
        a, b = (render(SCENE, m, method, 3, **small).frames.astype(int) for m in (model, renamed))
        assert np.abs(a - b).max() <= 1

    (other / "animatic.json").write_text(json.dumps({"family": "zeroscope"}))  # what the warning advises
    told = load(str(other), "cpu")
    assert told.family == "zeroscope" and method_named("lvd").on(told)[1].scale == 5 * 400
    assert told.geometry == PRESETS["zeroscope"].geometry


def test_zeroscope_is_told_apart_by_its_size(tmp_path, recwarn):
    model = load(str(layout_of_modelscope(tmp_path / "m", (40, 72))), "cpu")
    assert model.family == "zeroscope" and model.geometry == PRESETS["zeroscope"].geometry
    (said,) = [str(w.message) for w in recwarn if "taken for" in str(w.message)]
    assert said.endswith(
        "m: taken for zeroscope by its configuration: 24 frames of 576x320 at 8 a second, 40 steps, guidance 9, dpm++"
    )
    odd = layout_of_modelscope(tmp_path / "odd", 8)  # another size was learnt: its own, then
    with pytest.warns(UserWarning, match="taken for modelscope"):
        assert (load(str(odd), "cpu").geometry.height, load(str(odd), "cpu").family) == (64, "modelscope")


def test_other_networks_are_of_no_family(tmp_path):
    assert load(str(tiny.folder(tmp_path / "mini", tiny.unet3d())), "cpu").family == ""
    assert load(str(tiny.cogvideox(tmp_path / "modelscope")), "cpu").family == ""


def test_every_known_model_is_recognised_by_its_facts():
    """Facts are disjoint enough: the config of each is recognised as that model and no other."""
    for facts, names in KNOWN:
        assert known_by_config(facts) == names and set(names) <= PRESETS.keys()
    assert known_by_config({"_class_name": "UNet3DConditionModel"}) == ()
    assert known_by_card(Path("x"), {"model": "wan2.2-5b"}) is PRESETS["wan2.2-5b"]
    with pytest.raises(AnimaticError, match=r"x/animatic\.json: model is 'wan'; want one of mini, "):
        known_by_card(Path("x"), {"model": "wan"})
    with pytest.raises(AnimaticError, match=r"x/animatic\.json: family is 'modelscop'; want lavie, mini, modelscope, "):
        known_by_card(Path("x"), {"family": "modelscop"})


def test_a_saved_model_says_its_family(tmp_path):
    model = load("mini", "cpu")
    save_model(tmp_path / "elsewhere", model)
    assert json.loads((tmp_path / "elsewhere" / "animatic.json").read_text())["family"] == "mini"
    model.family = ""
    save_model(tmp_path / "mini", model)
    assert load(str(tmp_path / "mini"), "cpu").family == ""


def test_partners_are_found_by_family(tmp_path):
    """What finishes a video of `mini` finishes one of a copy of it."""
    copy = shutil.copytree(MINI, tmp_path / "copy")
    video = render(STILL, str(copy), "none", steps=1)
    say = stage_context(video, "", 0)
    assert say.source_model == "mini" and video.info["model"] == "copy"
    ((_, stage),) = stages_of("upscale:2")
    assert stage.backbone(say).name == "mini-upscale"
    old = stage_context(Video(video.frames, 8.0, {"model": "mini + hat:1"}), "", 0)  # of before families were written
    assert stage.backbone(old).name == "mini-upscale"


# models of another kind


def picture(**more):
    torch.manual_seed(0)
    config = {
        "sample_size": 8, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "layers_per_block": 1,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "block_out_channels": (16, 32), "norm_num_groups": 8,
        "cross_attention_dim": tiny.WIDTH, "attention_head_dim": 2,
    }  # fmt: skip
    return UNet2DConditionModel(**{**config, **more})


def test_models_of_another_kind_are_named(tmp_path):
    inpainting = tiny.folder(tmp_path / "inpainting", picture(in_channels=9))
    with pytest.raises(AnimaticError, match="inpainting/unet: reads 9 channels and answers 4; want a text-to-image"):
        load(str(inpainting))

    base = tiny.folder(
        tmp_path / "xl",
        picture(
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=tiny.WIDTH + 4 * 8,
        ),
    )
    config = tiny.text_encoder(tiny.tokenizer()).config.to_dict()
    CLIPTextModelWithProjection(CLIPTextConfig(**{**config, "projection_dim": tiny.WIDTH})).save_pretrained(
        base / "text_encoder_2"
    )
    with pytest.raises(
        AnimaticError, match="its unet reads 4 numbers of size and place; want SDXL, which reads 6, or its refiner, 5"
    ):
        load(str(base))

    with pytest.raises(AnimaticError, match="mini-upscale finishes videos and makes none from noise"):
        render(STILL, "mini-upscale", "none", steps=1)


@pytest.mark.parametrize("name", ["IPNDMScheduler", "VQDiffusionScheduler", "AutoencoderKL", "logging"])
def test_schedulers_of_another_kind_are_named(tmp_path, name):
    folder = tiny.folder(tmp_path / "m", tiny.unet2d())
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "_class_name": name}))
    with pytest.raises(AnimaticError, match=name):
        render(STILL, str(folder), "none", steps=1)
    if name.endswith("Scheduler"):
        with pytest.raises(AnimaticError, match=name):
            render(STILL, "mini", "none", steps=1, scheduler=name)


def test_cogvideox_beyond_its_positions(tmp_path, monkeypatch):
    """1.5 has positions for its native height and width; 1.0 squeezes others into them."""
    model = load(str(tiny.cogvideox(tmp_path / "c", pairs=True)), "cpu")
    scene = Scene("a cat", (), seconds=0.5)
    assert render(scene, model, "none", steps=1, frames=5, size=(48, 32)).frames.shape[1:3] == (32, 48)
    monkeypatch.setattr(type(model), "encode", None)  # before any work
    with pytest.raises(AnimaticError, match=r"size is 32x48; this CogVideoX 1\.5 takes up to 48x32"):
        render(scene, model, "none", steps=1, frames=5, size=(32, 48))
    older = load(str(tiny.cogvideox(tmp_path / "o", rotary=True)), "cpu")
    assert rotary_embedding(older.unet.config, torch.zeros(1, 3, 4, 6, 4)) is not None


@pytest.mark.parametrize("seed", [-1, 2**63, 99999999999999999999])
def test_seeds_out_of_range(seed):
    with pytest.raises(AnimaticError, match=f"seed is {seed}; want .*0 to 9223372036854775807"):
        render(STILL, "mini", "none", seed, steps=1)
    assert load("mini", "cpu").noise([2**63 - 1], 1, 64, 64).isfinite().all()


# what libraries would say, and what they would not


def test_loading_prints_nothing(tmp_path, capfd):
    """A GLIGEN folder, whose fusers diffusers would warn of one by one."""
    gated = tmp_path / "gligen"
    model = load("mini", "cpu")
    capfd.readouterr()
    save_model(gated, model)
    assert "grounding" in load(str(gated), "cpu").provides
    assert capfd.readouterr() == ("", "")


def test_weights_without_a_place_are_told(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tiny.folder(tmp_path / "m", tiny.unet2d())
    (file,) = (folder / "unet").glob("*.safetensors")
    save_file({**load_file(file), "motion.weight": torch.zeros(1)}, file, {"format": "pt"})
    with pytest.warns(UserWarning, match=r"m/unet: 1 weights have no place in UNet2D.*, the first is motion\.weight"):
        load(str(folder), "cpu")


def test_the_card_of_mini_2_agrees_with_what_its_training_writes():
    from animatic.toy import mini

    card = json.loads((MINI.with_name("mini-2") / "animatic.json").read_text())
    assert defaults_of(card) == mini.DEFAULTS and geometry_of(card) == mini.GEOMETRY


def test_damaged_cards_are_named(tmp_path):
    folder = tiny.folder(tmp_path / "m", tiny.unet2d())
    for card, words in (
        ({"defaults": {"step": 3}}, r"m/animatic\.json: cannot be used \(defaults\.step is not known"),
        ({"geometry": [64]}, r"m/animatic\.json: cannot be used"),
        ({"concat_conditioning": {"kind": "above"}}, r"m/animatic\.json: cannot be used \(KeyError: 'above'\)"),
        ({"family": 3}, r"m/animatic\.json: family is 3; want lavie"),
    ):
        (folder / "animatic.json").write_text(json.dumps(card))
        with pytest.raises(AnimaticError, match=words):
            load(str(folder), "cpu")


def test_a_second_network_that_would_never_be_asked_is_refused(tmp_path):
    folder = tiny.wan(tmp_path / "w", second=True)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "boundary_ratio": None}))
    with pytest.raises(AnimaticError, match=r"has transformer_2, but model_index\.json no boundary_ratio"):
        load(str(folder), "cpu")


def test_a_network_without_a_size_is_refused(tmp_path):
    folder = tiny.folder(tmp_path / "m", tiny.unet2d())
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sample_size": None}))
    with pytest.raises(
        AnimaticError, match=r"m/unet: sample_size is not given; want it, or geometry in animatic\.json"
    ):
        load(str(folder), "cpu")


@pytest.mark.parametrize("state", [{"ema": 5}, {1: torch.zeros(1)}, {"model": {"a": "text"}}])
def test_checkpoints_that_hold_no_tensors_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(AnimaticError, match=r"x\.pt: holds no names with tensors"):
        convert_vdp(tmp_path / "x.pt", tmp_path / "out", 16, 4)
