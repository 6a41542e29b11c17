"""Saving memory: the same answer where nothing is rounded, nearly the same where weights are, gradients as well."""

from dataclasses import replace

import pytest
import tiny
import torch
from diffusers import FirstBlockCacheConfig

from animatic.attention_export import AttentionExport
from animatic.backbones import load
from animatic.cli import main
from animatic.controls.guidance import Guidance
from animatic.core.attention import fused_attention
from animatic.core.backbone import MemoryOptions
from animatic.core.loop import sample
from animatic.core.types import AttentionMapRequest, Step
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track
from animatic.video import Video

STEP = Step(0, 4, 900.0, noise=1.0)


@pytest.fixture(scope="module", params=["cogvideox", "wan", "unet3d"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / request.param
    return str(tiny.folder(path, tiny.unet3d()) if request.param == "unet3d" else getattr(tiny, request.param)(path))


def answers(model):
    """Latents of a run, the gradient of the maps of one pass, pixels."""
    width = 64 if model.geometry.vae_temporal_ratio == 1 else 48
    x, cond = model.noise([0], 5, 32, width), model.encode(["the cat"], ["a dog"])
    made = sample(model, model.schedule(2), x, cond, [Guidance(4.0)])
    maps, leaf = AttentionMapRequest(torch.tensor([[1]]), maps_only=True), x.clone().requires_grad_()
    model(leaf, STEP, replace(cond.positive, map_request=maps), fused_attention)
    energy = sum(m.float().square().sum() for m in maps.found.values())
    return made, torch.autograd.grad(energy, leaf)[0], model.decode(made).float()


@pytest.fixture(scope="module")
def want(folder):
    return answers(load(folder))


def far(got, want):
    return [((a.float() - b).norm() / b.norm()).item() for a, b in zip(got, want, strict=True)]


def test_waiting_weights_and_less_kept_change_nothing(folder, want):
    latents, gradient, pixels = far(answers(load(folder, memory=MemoryOptions(offload=True, save_memory=True))), want)
    assert latents < 1e-5 and gradient < 1e-5  # of the norm: weights that come and go lie elsewhere in memory
    assert pixels < 0.1  # tiles have seams


@pytest.mark.parametrize(
    ("how", "limit"), [({"dtype": "bfloat16"}, 0.05), ({"quantize": "int8"}, 0.05), ({"quantize": "fp8"}, 0.2)]
)
def test_rounded_weights_change_little(folder, want, how, limit):
    if "quantize" in how:
        pytest.importorskip("torchao")
    model = load(folder, memory=MemoryOptions(**how))
    latents, gradient, pixels = far(answers(model), want)
    assert 0 < latents < limit and 0 < gradient < 2 * limit and pixels < 4 * limit


def test_tiles(tmp_path):
    """A video larger than a tile comes out whole, nearly as without."""
    model = load(str(tiny.cogvideox(tmp_path / "m")))
    latents = 0.1 * torch.randn(1, 4, 2, 8, 8)
    plainly = model.decode(latents).float()
    tiled = model.save_memory().decode(latents).float()
    assert tiled.shape == plainly.shape == (1, 5, 64, 64, 3)
    assert 0 < (tiled - plainly).abs().mean() < 0.5 * plainly.std()


def test_what_cannot_be_saved():
    with pytest.raises(AnimaticError, match="dtype is 'half'; want one of float32, bfloat16, float16"):
        MemoryOptions(dtype="half")
    with pytest.raises(AnimaticError, match="quantize is 'int3'; want one of int8, fp8"):
        MemoryOptions(quantize="int3")
    with pytest.raises(AnimaticError, match="quantised weights cannot be moved"):
        MemoryOptions(quantize="int8", offload=True)


def test_caches_are_refused_while_guiding(tmp_path):
    model = load(str(tiny.cogvideox(tmp_path / "m")))
    model.unet.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    x, cond = model.noise([0], 5, 32, 48), model.encode(["the cat"], [""]).positive
    with pytest.raises(AnimaticError, match="caches, skips or recasts"):
        model(
            x.requires_grad_(),
            STEP,
            replace(cond, map_request=AttentionMapRequest(torch.tensor([[1]]))),
            fused_attention,
        )


def test_from_the_command_line(tmp_path, monkeypatch):
    """A transformer saving memory, its attention written layer by layer as well."""
    monkeypatch.chdir(tmp_path)
    tiny.cogvideox(tmp_path / "m")
    Scene("the cat runs", (Track("cat", ((0, 0, 0.5, 0.5),) * 2),)).save(tmp_path / "cat.json")
    arguments = [
        "render", "cat.json", "--model", "m", "--method", "layout-attention", "--steps", "2", "--size", "48x32",
        "--frames", "9", "--save-memory", "--offload", "--save-attention", "--attention-of", "*.1.*@0,1",
        "--attention-back", "--format", "png,mp4", "--json",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    names = sorted(p.name for p in (tmp_path / "out" / "cat.attention").iterdir())
    assert names == [f"00{i}-transformer_blocks.1.attn1.{suffix}" for i in (0, 1) for suffix in ("mp4", "png")]
    assert len(Video.load(tmp_path / "out" / "cat.attention" / names[0])) == 9
    assert (tmp_path / "out" / "cat.attention.gif").exists()


def test_attention_steps_are_numbers():
    with pytest.raises(AnimaticError, match="attention steps are 'last'"):
        AttentionExport(of="*@last").controls()
