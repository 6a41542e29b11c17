"""A step of two branches by diffusers' network and by ours, and a guided pass of LVD, in fp16 and bf16.

The same network has diffusers' own attention processors and ours by turns, with the same inputs. Seconds are the least
of three after one to warm up, memory is the most that was allocated meanwhile, weights included.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import typer
from bench import Meter, Tiny, plain_processors, ratio, table_of_models, unless_full, with_weights
from torch import Tensor, nn

from animatic.backbones.components import Components
from animatic.core.attention import fused_attention
from animatic.core.types import AttentionMapRequest, Branch, Conditioning, Step
from animatic.errors import AnimaticError
from animatic.methods import method_named
from animatic.rehearsal_costs import energy_of

STEP = Step(0, 50, 900.0, noise=0.9)
ROUNDS, REPEAT = 2, 3


def inputs_of(model: Components, latents: Tensor, cond: Conditioning) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What diffusers' network is called with in a step of ours."""
    found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    network: nn.Module = model.unet
    hook = network.register_forward_pre_hook(lambda _, args, named: found.append((args, named)), with_kwargs=True)
    try:
        model(latents, STEP, cond, fused_attention)
    finally:
        hook.remove()
    return found[0]


def figures(name: str, dtype: torch.dtype, device: torch.device, meter: Meter) -> list[float | str]:
    """Of a model in one type: see the head of the table."""
    model, size = with_weights(name, device, dtype)
    network: Any = model.unet
    words: Any = model.text

    # two branches of a step, and one of a guided pass; transformers take latents in float32
    latents = torch.randn(2, *model.geometry.latent(*size), device=device)
    if model.network_folder != "transformer":
        latents = latents.to(dtype)
    text = torch.randn(2, words.length, words.width, device=device, dtype=dtype)
    both = Conditioning(text, (Branch(True), Branch(False)))
    one = Conditioning(text[:1], (Branch(False),))
    energy = energy_of(method_named("lvd").on(model))
    if energy is None:
        raise AnimaticError(f"lvd has no energy on {name}; want a model that it guides")
    tokens = torch.zeros(1, 2, dtype=torch.long, device=device)

    @torch.no_grad()
    def ours() -> object:
        return model(latents, STEP, both, fused_attention)

    def guided() -> object:
        start = latents[:1].detach().requires_grad_()
        request = AttentionMapRequest(tokens, energy.layers, maps_only=True)
        with torch.enable_grad():
            model(start, STEP, replace(one, map_request=request), fused_attention)
            total = torch.stack([maps.float().mean() for maps in request.found.values()]).sum()
            return torch.autograd.grad(total, start)

    with torch.no_grad():
        args, named = inputs_of(model, latents, both)

    @torch.no_grad()
    def stock() -> object:
        return network(*args, **named)

    # by turns; exchanging the processors is outside of what is timed
    by_diffusers = by_us = float("inf")
    for _ in range(ROUNDS):
        with plain_processors(network):
            by_diffusers = min(by_diffusers, meter.least(REPEAT, stock))
        by_us = min(by_us, meter.least(REPEAT, ours))
    memory = meter.gib(ours)

    # gradients take many times the memory
    by_gradient = unless_full(lambda: meter.least(REPEAT, guided))
    of_gradient = unless_full(lambda: meter.gib(guided))
    return [by_diffusers, by_us, by_us / by_diffusers, by_gradient, ratio(by_gradient, by_us), memory, of_gradient]


def main(tiny: Tiny = False) -> None:
    """Print a table of Markdown."""
    head = ("diffusers s", "ours s", "ours / diffusers", "guided pass s", "guided / ours",
            "GiB of a step", "GiB of a guided pass")  # fmt: skip
    table_of_models(head, figures, tiny)


if __name__ == "__main__":
    typer.run(main)
