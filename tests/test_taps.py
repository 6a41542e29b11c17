"""Taps: the stock network when nobody listens; the true, differentiable probabilities when somebody does."""

from dataclasses import replace

import pytest
import tiny
import torch
from conftest import close
from diffusers.models.attention_processor import AttnProcessor2_0

from animatic.backbones import load
from animatic.backbones.attention_hooks import AttentionHooks, NetworkCall, unet_kind
from animatic.backbones.attention_processors import UNetProcessor
from animatic.core.attention import fused_attention
from animatic.core.types import AttentionMapRequest, Branch, Conditioning, Step

STEP = Step(0, 1, 500.0)


def call(frames: int, rows: int = 2, maps: AttentionMapRequest | None = None) -> NetworkCall:
    return NetworkCall(
        STEP,
        Conditioning(torch.zeros(rows, 1, 1), tuple(Branch(sample=i) for i in range(rows)), map_request=maps),
        fused_attention,
        (frames, 8, 8),
    )


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_nobody_listening_is_the_stock_network(kind):
    torch.manual_seed(1)
    text = torch.randn(2, 7, tiny.WIDTH)
    x = torch.randn(2, 4, 8, 8) if kind == "2d" else torch.randn(2, 4, 3, 8, 8)
    network = tiny.unet2d() if kind == "2d" else tiny.unet3d()
    with torch.no_grad():
        network.set_attn_processor(AttnProcessor2_0())
        stock = network(x, 500, text).sample
        taps = AttentionHooks(network, unet_kind, UNetProcessor)
        assert close(network(x, 500, text).sample, stock)
        with taps.serving(call(3 if kind == "3d" else 1)):
            assert close(network(x, 500, text).sample, stock)


def test_kinds_of_layers():
    network = tiny.unet3d()
    AttentionHooks(network, unet_kind, UNetProcessor)
    kinds = {tap.name: tap.kind for tap in network.attn_processors.values()}
    time = {name for name in kinds if "temp_attentions" in name or name.startswith("transformer_in")}
    assert {kinds[name] for name in time} == {"time"}, "attn2 of a temporal transformer is self-attention"
    assert {name.rpartition(".")[2]: kinds[name] for name in kinds.keys() - time} == {"attn1": "self", "attn2": "cross"}


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_maps_are_the_softmax(kind):
    """The extra columns of fused attention against attention written out by hand."""
    torch.manual_seed(1)
    frames = 3 if kind == "3d" else 1
    network = tiny.unet3d() if kind == "3d" else tiny.unet2d()
    taps = AttentionHooks(network, unet_kind, UNetProcessor)
    x = torch.randn(2, 4, frames, 8, 8) if kind == "3d" else torch.randn(2, 4, 8, 8)
    text, seen = torch.randn(2, 7, tiny.WIDTH), {}

    def listen(site, q, k, v, mask):
        if site.kind == "cross":
            p = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
            seen[site.layer] = p.unflatten(0, (2, site.entries_per_branch)).unflatten(3, site.grid[1:])
        return fused_attention(site, q, k, v, mask)

    maps = AttentionMapRequest(torch.tensor([[1, 4], [6, 2]]))
    with torch.no_grad(), taps.serving(replace(call(frames, maps=maps), attend=listen)):
        network(x, 500, text)
    assert len(maps.found) == len(seen) >= 3
    for name, p in seen.items():
        want = torch.stack([p[0][..., [1, 4]], p[1][..., [6, 2]]])
        assert maps.found[name].shape == want.shape == (2, frames, *want.shape[2:])
        assert close(maps.found[name], want)


def test_asking_does_not_change_the_answer():
    torch.manual_seed(1)
    network = tiny.unet3d()
    taps = AttentionHooks(network, unet_kind, UNetProcessor)
    x, text = torch.randn(2, 4, 3, 8, 8), torch.randn(2, 7, tiny.WIDTH)
    with torch.no_grad():
        with taps.serving(call(3)):
            quiet = network(x, 500, text).sample
        with taps.serving(call(3, maps=AttentionMapRequest(torch.tensor([[1], [2]])))):
            assert close(network(x, 500, text).sample, quiet)


def test_only_the_wanted_sites_answer():
    network = tiny.unet3d()
    taps, maps = (
        AttentionHooks(network, unet_kind, UNetProcessor),
        AttentionMapRequest(torch.tensor([[1]]), layers=("down_blocks.0.*",)),
    )
    with torch.no_grad(), taps.serving(call(2, rows=1, maps=maps)):
        network(torch.randn(1, 4, 2, 8, 8), 500, torch.randn(1, 7, tiny.WIDTH))
    assert list(maps.found) == ["down_blocks.0.attentions.0.transformer_blocks.0.attn2"]


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_gradients_are_those_of_plain_attention_and_survive_checkpointing(kind, tmp_path):
    """d(energy of maps)/dx: checkpointed layers call their taps again during backward."""
    model = load(str(tiny.folder(tmp_path / "m", tiny.unet3d() if kind == "3d" else tiny.unet2d())))
    frames = 3 if kind == "3d" else 1
    torch.manual_seed(1)
    x = torch.randn(1, 4, frames, 8, 8)
    cond = model.encode(["a cat"], [""]).positive

    def gradient() -> torch.Tensor:
        maps = AttentionMapRequest(torch.tensor([[3, 4]]))
        leaf = x.clone().requires_grad_()
        model(leaf, STEP, replace(cond, map_request=maps), fused_attention)
        return torch.autograd.grad(sum(m.square().sum() for m in maps.found.values()), leaf)[0]

    plainly = gradient()
    model.save_memory().save_memory()  # twice is once
    assert plainly.abs().sum() > 0
    assert close(gradient(), plainly)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_request_for_maps_alone_stops_after_the_last_of_them(tmp_path, checkpointing):
    """Same maps, same gradient, no layer behind, no prediction; checkpointed layers are cut short in the middle."""
    model = load(str(tiny.folder(tmp_path / "m", tiny.unet3d())))
    if checkpointing:
        model.save_memory()
    torch.manual_seed(1)
    x, cond, calls = torch.randn(1, 4, 3, 8, 8), model.encode(["a cat"], [""]).positive, []
    model.unet.up_blocks[-1].attentions[-1].register_forward_hook(lambda *_: calls.append("finished"))
    model.unet.conv_out.register_forward_hook(lambda *_: calls.append("out"))

    def gradient(only: bool) -> tuple[torch.Tensor, torch.Tensor]:
        maps, leaf = AttentionMapRequest(torch.tensor([[3, 4]]), maps_only=only), x.clone().requires_grad_()
        prediction = model(leaf, STEP, replace(cond, map_request=maps), fused_attention)
        return torch.autograd.grad(sum(m.square().sum() for m in maps.found.values()), leaf)[0], prediction

    whole, prediction = gradient(only=False)
    assert torch.isfinite(prediction).all() and "out" in calls
    calls.clear()
    short, prediction = gradient(only=True)
    assert close(short, whole) and torch.isnan(prediction).all() and prediction.shape == x.shape
    assert not calls
