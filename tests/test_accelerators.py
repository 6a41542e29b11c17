"""Guided passes under what makes networks faster or smaller: the same gradient, or a refusal that says why.

One test per row of the table in the performance notes that applies to UNets; first-block caching and MagCache cannot be
put on a UNet at all.
"""

from dataclasses import replace

import diffusers
import pytest
import tiny
import torch
from conftest import close
from diffusers import FasterCacheConfig, PyramidAttentionBroadcastConfig
from diffusers.hooks import apply_faster_cache, apply_first_block_cache, apply_pyramid_attention_broadcast
from diffusers.models.attention_processor import AttnProcessor2_0

from animatic.backbones import load
from animatic.core.attention import fused_attention
from animatic.core.types import AttentionMapRequest, Step
from animatic.errors import AnimaticError

STEP = Step(0, 4, 500.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny.folder(tmp_path_factory.mktemp("model") / "m", tiny.unet3d()))


def gradient(model, dtype=torch.float32, frames=3, side=8) -> torch.Tensor:
    """d(energy of maps)/d(latents) of one guided pass."""
    torch.manual_seed(1)
    x = torch.randn(1, 4, frames, side, side).to(dtype).requires_grad_()
    cond = model.encode(["a cat"], [""]).positive
    maps = AttentionMapRequest(torch.tensor([[3, 4]]), maps_only=True)
    model(x, STEP, replace(cond, map_request=maps), fused_attention)
    energy = sum(p.float().square().sum() for p in maps.found.values())
    return torch.autograd.grad(energy, x)[0].float()


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


CPU = torch.device("cpu")
SAFE = {
    "gradient checkpointing": lambda m: m.save_memory(),
    "group offloading": lambda m: m.unet.enable_group_offload(CPU, CPU, offload_type="leaf_level"),
    "an attention backend": lambda m: m.unet.set_attn_processor(m.unet.attn_processors),
}


@pytest.mark.parametrize("name", SAFE)
def test_same_gradient(folder, name):
    model = load(folder)
    SAFE[name](model)
    assert off(gradient(model), gradient(load(folder))) <= 1e-6


def test_half_precision_keeps_the_direction(folder):
    """Weights and latents in half precision, the energy in float32; autocast likewise."""
    want, model = gradient(load(folder), frames=1, side=4), load(folder)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gradient(model, frames=1, side=4)
    for part in (model.unet, model.text):
        part.to(torch.bfloat16)
    for got in (mixed, gradient(model, torch.bfloat16, frames=1, side=4)):
        assert torch.isfinite(got).all() and off(got, want) < 0.1


def broadcast(unet):
    apply_pyramid_attention_broadcast(
        unet,
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(0, 1000),
            spatial_attention_block_identifiers=("attentions",),
            current_timestep_callback=lambda: 500,
        ),
    )


def int8(unet):
    from torch.ao.quantization import quantize_dynamic

    quantize_dynamic(unet, {torch.nn.Linear}, inplace=True)


REFUSED = {
    "pyramid attention broadcast": (broadcast, "caches, skips or recasts"),
    "FasterCache": (
        lambda unet: apply_faster_cache(unet, FasterCacheConfig(current_timestep_callback=lambda: 500)),
        "caches, skips or recasts",
    ),
    "layerwise casting": (
        lambda unet: unet.enable_layerwise_casting(torch.bfloat16, torch.float32),
        "caches, skips or recasts",
    ),
    "fused projections": (lambda unet: unet.fuse_qkv_projections(), "4 of 4 attention layers did not answer"),
    "other processors": (
        lambda unet: unet.set_attn_processor(AttnProcessor2_0()),
        "4 of 4 attention layers did not answer",
    ),
    "sliced attention": (lambda unet: unet.set_attention_slice("auto"), "attention layers did not answer"),
    "torch.compile": (lambda unet: unet.compile(backend="aot_eager"), "torch.compile"),
    "one compiled layer": (lambda unet: unet.mid_block.compile(backend="aot_eager"), "torch.compile"),
    "int8 activations": (int8, "quantised activations"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_its_reason(folder, name):
    switch_on, reason = REFUSED[name]
    model = load(folder)
    switch_on(model.unet)
    with pytest.raises(AnimaticError, match=reason):
        gradient(model)


def test_unguided_passes_may_be_compiled(folder):
    """What is refused while guiding is nobody's business when no gradient is wanted."""
    model, x = load(folder), torch.randn(2, 4, 3, 8, 8)
    cond = model.encode(["a cat"], [""])
    with torch.no_grad():
        want = model(x, STEP, cond, fused_attention)
        model.unet.mid_block.compile(backend="eager")
        assert close(model(x, STEP, cond, fused_attention), want)


def test_block_caches_do_not_fit_a_unet(folder):
    """They look for a row of transformer blocks. If diffusers ever finds one here, this table needs a row."""
    with pytest.raises((IndexError, ValueError, AttributeError)):
        apply_first_block_cache(load(folder).unet, diffusers.FirstBlockCacheConfig())


def test_nothing_of_a_guided_pass_is_left_behind(folder):
    """No map and no graph stays alive after the step: the next call replaces what checkpointing may still need."""
    model = load(folder)
    gradient(model)
    with torch.no_grad():
        model(torch.randn(2, 4, 3, 8, 8), STEP, model.encode(["a cat"], [""]), fused_attention)
    assert model.hooks.call is None
