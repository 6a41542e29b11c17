"""GLIGEN's layers on both UNets: nothing until told, boxes and names when told, the published formats."""

import json
from dataclasses import replace

import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from animatic.backbones import load
from animatic.backbones.grounding import add_grounding, is_grounding
from animatic.controls.grounding import MOST, Gligen, named_boxes
from animatic.controls.guidance import Guidance
from animatic.core.attention import fused_attention
from animatic.core.control import Control
from animatic.core.loop import sample
from animatic.core.types import Branch, Conditioning, Step
from animatic.errors import AnimaticError
from animatic.methods import METHODS
from animatic.rendering import render
from animatic.scene import Scene, Track

CATS = Scene("a cat and a dog", (Track("cat", ((0, 0, 0.4, 0.4), None)), Track("dog", ((0.5, 0.5, 1, 1),) * 2)))


def unet2d(**extra) -> UNet2DConditionModel:
    torch.manual_seed(0)
    config = {k: v for k, v in tiny.unet2d().config.items() if not k.startswith("_")}
    return UNet2DConditionModel(**{**config, "attention_type": "gated", **extra}).eval()


def awake(unet):
    """Gates and nulls are zero in a fresh network, which would hide mistakes."""
    with torch.no_grad():
        for name, p in unet.named_parameters():
            if is_grounding(name) and not p.any():
                p.normal_()
    return unet


def unet3d():
    unet = tiny.unet3d()
    add_grounding(unet)
    return awake(unet).eval()


@pytest.fixture(scope="module", params=["2d", "3d"])
def model(request, tmp_path_factory):
    folder = tiny.folder(tmp_path_factory.mktemp("m"), awake(unet2d()) if request.param == "2d" else unet3d())
    if request.param == "3d":
        mark(folder, attention_type="gated")
    return load(str(folder))


def mark(folder, **words):
    """What the published folders say in the network's config."""
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **words}))


def run(model, controls, frames=3, scene=CATS):
    cond = model.encode([scene.prompt], [""])
    noise = model.noise([0], frames, 64, 64)
    return sample(model, model.schedule(4, "ddim"), noise, cond, [Guidance(2.0), *controls], scenes=[scene])


def frames_of(model) -> int:
    return 1 if "image" in model.provides else 3


def test_off_is_the_identity(model):
    frames = frames_of(model)
    assert torch.equal(run(model, [Gligen(until=0)], frames), run(model, [], frames)), "the same passes"


def test_on_it_tells_the_boxes(model):
    frames = frames_of(model)
    with_boxes = run(model, [Gligen(until=1)], frames)
    moved = replace(CATS, tracks=(CATS.tracks[0], Track("dog", ((0.0, 0.5, 0.5, 1),) * 2)))
    renamed = replace(CATS, tracks=(replace(CATS.tracks[0], phrase="dog"), CATS.tracks[1]))
    for other in (run(model, [], frames), *(run(model, [Gligen(until=1)], frames, s) for s in (moved, renamed))):
        assert (with_boxes - other).abs().max() > 1e-4


def test_it_ends_after_its_share_of_the_steps(model):
    told = []

    class Look(Control):
        def denoise(self, inner, x, step, cond):
            return inner(x, step, cond)

        def condition(self, cond, step):
            told.append("boxes" in cond.extra)
            return cond

    run(model, [Gligen(until=0.5), Look()], frames_of(model))
    assert told == [True, True, False, False]


@pytest.mark.parametrize("model", ["3d"], indirect=True)
def test_frames_are_told_their_own_boxes(model):
    """The network's answer for a frame depends on the boxes of that frame; of absent things nothing is told."""
    seen = named_boxes([CATS], model.text, 4)
    assert seen["present"][0, :, 0].tolist() == [1, 1, 0, 0] and seen["present"][0, :, 1].tolist() == [1] * 4
    rows = (Branch(sample=0), Branch(sample=0, first_frame=2))
    cond = Conditioning(
        model.text(["a cat and a dog"]).expand(2, -1, -1), rows, {k: v.expand(2, *v.shape[1:]) for k, v in seen.items()}
    )
    x = torch.randn(1, 4, 2, 8, 8).expand(2, -1, -1, -1, -1)
    with torch.no_grad():
        both = model(x, Step(0, 1, 500.0), cond, fused_attention)
        alone = model(
            x[1:],
            Step(0, 1, 500.0),
            replace(cond, text=cond.text[1:], branches=rows[1:], extra={k: v[1:] for k, v in cond.extra.items()}),
            fused_attention,
        )
    assert (both[0] - both[1]).abs().max() > 1e-4, "a window sees the boxes of its own frames"
    assert close(both[1:], alone)


def test_negative_rows_are_told_nothing(model):
    gligen, cond = Gligen(until=1), model.encode([CATS.prompt], [""])
    extra = named_boxes([CATS], model.text, 1)
    told = replace(gligen, _conditioning=extra).condition(cond, Step(0, 4, 0.0)).extra["present"]
    assert told[0].sum() == 0 and told[1].sum() == 2


def test_image_folders_old_and_new(tmp_path):
    """GLIGEN's first folders say "use_gated_attention" where diffusers now says attention_type."""
    folder = tiny.folder(tmp_path / "m", awake(unet2d()))
    new = load(str(folder))
    config = json.loads((folder / "unet" / "config.json").read_text())
    del config["attention_type"]
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "use_gated_attention": True}))
    old = load(str(folder))
    assert close(run(new, [Gligen(until=1)], 1), run(old, [Gligen(until=1)], 1), RUN)


def test_adapters_beside_the_model(tmp_path):
    """A folder `grounding` holds what is added alone, as `mini` has it; a damaged one is refused."""
    unet = unet3d()
    own = {name: value.clone() for name, value in unet.state_dict().items() if is_grounding(name)}
    folder = tiny.folder(tmp_path / "m", tiny.unet3d())
    (folder / "grounding").mkdir()
    weights = folder / "grounding" / "diffusion_pytorch_model.safetensors"
    save_file(own, weights)
    model = load(str(folder))
    assert "grounding" in model.provides
    for name, value in model.unet.state_dict().items():
        assert not is_grounding(name) or torch.equal(value, own[name])
    lacking = dict(load_file(weights))
    lacking.pop("position_net.null_position_feature")
    save_file(lacking, weights)
    with pytest.raises(AnimaticError, match=r"does not fit; 1 weights differ, first position_net"):
        load(str(folder))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(AnimaticError, match="weights are damaged"):
        load(str(folder))


@pytest.mark.parametrize("method", ["lvd-gligen", "lvd+", "lmd+", "gligen"])
def test_a_model_that_cannot_read_boxes_is_told_so(method, tmp_path):
    model = load(str(tiny.folder(tmp_path / "m", tiny.unet3d())))
    with pytest.raises(AnimaticError, match=r"needs a model that is conditioned on boxes \(GLIGEN\), and m is not"):
        render(CATS, model, METHODS[method], steps=1, frames=2)


def test_too_many_things():
    crowd = Scene("cats", tuple(Track("cat", ((0, 0, 0.1, 0.1),)) for _ in range(MOST + 1)))
    with pytest.raises(AnimaticError, match="31 tracks; GLIGEN takes at most 30"):
        named_boxes([crowd], None, 1)
