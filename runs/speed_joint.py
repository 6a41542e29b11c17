"""What reading words from joint attention costs: CPU time and stored bytes, compared with fused attention alone.

    .venv/bin/python runs/speed_joint.py [--tokens 2226] [--words 4] [--repeat 5]

One attention layer at CogVideoX-2B's width (30 heads of 64), one row, one thread; 226 tokens of text, the rest video
(the real model: 17,776 in all). Plain attention, attention with columns and the map written out take turns in one
process; the least and the middle of `repeat` are printed, in multiples of plain attention.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from animatic.backbones.attention_hooks import AttentionHooks, NetworkCall
from animatic.core.attention import fused_attention
from animatic.core.types import AttentionCall, AttentionMapRequest, Branch, Conditioning, Step

TEXT, HEADS, WIDTH = 226, 30, 64
STEP = Step(0, 1, 500.0)
ReadAttention = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class Layer(nn.Module):
    """A network of one attention layer, as attention hooks expect it."""

    attn_processors: dict[str, Any] = {"attn1.processor": None}  # noqa: RUF012

    def set_attn_processor(self, processors: dict[str, Any]) -> None:
        pass


def variants(tokens: int, words: int) -> dict[str, ReadAttention]:
    """(q, k, v) -> (out, probabilities `[branch, ..., token]`), by name."""
    hooks = AttentionHooks(Layer(), lambda name: "joint", lambda hooks, name, kind: None)
    tokens_read, grid = torch.arange(words)[None], (1, 1, tokens - TEXT)

    def columns(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        maps = AttentionMapRequest(tokens_read)
        cond = Conditioning(torch.zeros(1, 1, 1), (Branch(),), map_request=maps)
        call = AttentionCall("attn1", "joint", 1, slice(0, TEXT), grid, STEP, cond)
        out = hooks.attend(call, NetworkCall(STEP, cond, fused_attention, grid), q, k, v, None)
        return out, maps.found["attn1"]

    def fused(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.scaled_dot_product_attention(q, k, v), v.new_zeros(())

    def written_out(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        p = (q @ k.transpose(-1, -2) * WIDTH**-0.5).softmax(-1)
        return p @ v, p[:, :, TEXT:, :words].unflatten(2, grid).movedim(1, 2)

    return {"fused": fused, "columns": columns, "written out": written_out}


def timed(read: ReadAttention, backward: bool, inputs: list[Tensor]) -> tuple[float, int]:
    """(CPU seconds, bytes stored for backward)."""
    stored: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        stored[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    leaves = [t.clone().requires_grad_(backward) for t in inputs]
    with torch.set_grad_enabled(backward), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        began = time.process_time()
        out, p = read(*leaves)
        if backward:
            (out.square().sum() + p.square().sum()).backward()
        return time.process_time() - began, sum(stored.values())


def main(
    tokens: Annotated[int, typer.Option(help="Of text and video.")] = 2226,
    words: Annotated[int, typer.Option(help="Text tokens whose probabilities are read.")] = 4,
    repeat: Annotated[int, typer.Option(help="Times each is run, after one to warm up.")] = 5,
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = [torch.randn(1, HEADS, tokens, WIDTH) for _ in range(3)]
    ways = variants(tokens, words)
    with torch.no_grad():
        (out, p), (want, map) = ways["columns"](*inputs), ways["written out"](*inputs)
        wrong = {"map": (p - map).abs().max().item(), "out": (out - want).abs().max().item()}
    print(json.dumps({"tokens": tokens, "words": words, "repeat": repeat, "largest error": wrong}))
    for backward in (False, True):
        found = {name: [timed(read, backward, inputs) for _ in range(repeat + 1)][1:] for name, read in ways.items()}
        seconds = {name: [s for s, _ in runs] for name, runs in found.items()}
        line: dict[str, Any] = {"pass": "forward and backward" if backward else "forward"}
        for name, runs in seconds.items():
            times = {"least": min(runs) / min(seconds["fused"])}
            times["middle"] = statistics.median(runs) / statistics.median(seconds["fused"])
            line[name] = {k: round(v, 3) for k, v in times.items()} | {"s": round(min(runs), 3)}
            line[name] |= {"stored": round(found[name][0][1] / max(1, found["fused"][0][1]), 2)} if backward else {}
        print(json.dumps(line))


if __name__ == "__main__":
    typer.run(main)
