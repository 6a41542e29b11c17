"""Loading: the real formats, and one-line errors for everything that can be wrong with a folder."""

import json
import shutil

import pytest
import tiny
import torch
from diffusers import UNet3DConditionModel
from safetensors.torch import load_file, save_file

from animatic.backbones import PRESETS, load
from animatic.backbones.unet3d import coordinates
from animatic.core.backbone import Geometry
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.folder(tmp_path_factory.mktemp("whole") / "model", tiny.unet3d())


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def test_a_folder_of_diffusers_loads_and_is_frozen(whole):
    model = load(str(whole))
    assert model.name == "model" and model.provides == {"text maps", "video"}
    assert model.geometry == Geometry(16, 64, 64, 4, 8)
    assert not any(
        p.requires_grad for p in [*model.unet.parameters(), *model.vae.parameters(), *model.text.parameters()]
    )
    pixels = model.decode(model.noise([0, 1], 2, 64, 32))
    assert pixels.shape == (2, 2, 64, 32, 3) and pixels.dtype == torch.uint8


def test_image_models_take_one_frame(tmp_path):
    model = load(str(tiny.folder(tmp_path / "m", tiny.unet2d())))
    assert model.provides == {"text maps", "image"} and model.geometry.frames == 1
    with pytest.raises(AnimaticError, match="frames is 2; this model makes pictures, of 1 frame"):
        model.noise([0], 2, 64, 64)


def test_noise_is_the_seeds(whole):
    model = load(str(whole))
    both, alone = model.noise([3, 4], 2, 64, 64), model.noise([4], 2, 64, 64)
    assert torch.equal(both[1], alone[0]), "drawn, not computed: equal to the last bit"
    with pytest.raises(AnimaticError, match="height is 60; this model takes multiples of 8 pixels, such as 56 or 64"):
        model.noise([0], 2, 60, 64)


def test_weights_of_older_text_encoders_load(copy):
    """The hub's CLIP folders have `text_model.` before every key."""
    file = copy / "text_encoder" / "model.safetensors"
    old = load_file(file)
    save_file({f"text_model.{k}": v for k, v in old.items()}, file, metadata={"format": "pt"})
    model = load(str(copy))
    copied = model.text.encoder.state_dict()
    assert all(torch.equal(p, old[k]) for k, p in copied.items() if k in old)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_damaged_weights(copy, part):
    file = next((copy / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(AnimaticError, match=f"{part}: weights are missing or damaged") as caught:
        load(str(copy))
    assert "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(AnimaticError, match=f"{part}: weights are missing or damaged"):
        load(str(copy))


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_missing_weights_do_not_stay_random(copy, part):
    file = next((copy / part).glob("*.safetensors"))
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(AnimaticError, match=f"{part}: 1 weights are missing"):
        load(str(copy))


def test_missing_and_foreign_parts(copy, tmp_path):
    with pytest.raises(AnimaticError, match="unknown model 'nothing'; known: mini"):
        load("nothing")
    with pytest.raises(AnimaticError, match=r"model_index\.json: cannot be read"):
        load(str(tmp_path))
    shutil.rmtree(copy / "tokenizer")
    with pytest.raises(AnimaticError, match="no tokenizer"):
        load(str(copy))
    (copy / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "FluxTransformer2DModel"]}))
    with pytest.raises(AnimaticError, match="its unet is 'FluxTransformer2DModel'; want one of"):
        load(str(copy))
    (copy / "model_index.json").write_text("{")
    with pytest.raises(AnimaticError, match="not JSON"):
        load(str(copy))


def test_a_tokenizer_of_another_model_is_refused(copy):
    words = tiny.tokenizer()
    words.add_tokens([f"word{i}" for i in range(10)])
    words.save_pretrained(copy / "tokenizer")
    with pytest.raises(AnimaticError, match="do not belong together"):
        load(str(copy))


def test_hub_models_that_are_not_here(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(AnimaticError, match=r"zeroscope: cerspense/zeroscope_v2_576w is not on this machine"):
        load("zeroscope")
    assert PRESETS["zeroscope"].geometry == Geometry(24, 320, 576)


def test_coordinates():
    channels = coordinates(torch.zeros(2, 4, 3, 2, 5))
    assert channels.shape == (2, 3, 3, 2, 5)
    assert channels[0, 0, 0, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert channels[1, 1, 0, :, 0].tolist() == [-1, 1] and channels[0, 2, :, 0, 0].tolist() == [-1, 0, 1]
    assert coordinates(torch.zeros(1, 4, 1, 2, 2))[0, 2].abs().sum() == 0


def test_words_a_model_does_not_know(whole):
    model = load(str(whole))
    zebra = Scene("a zebra", (Track("striped zebra", (None,)),))
    model.check_scene(zebra)
    model.words = ("bear", "cat")
    model.check_scene(Scene("a", (Track("brown bear", (None,)), Track("cats", (None,)))))
    with pytest.raises(AnimaticError, match="model cannot show 'striped zebra'; it knows bear, cat"):
        model.check_scene(zebra)


def test_classes_are_stock(whole):
    assert type(load(str(whole)).unet) is UNet3DConditionModel
