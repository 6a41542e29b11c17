"""Peak memory of one joint attention layer under sharing and reweighting, beyond what plain attention needs.

    python runs/memory_joint.py --tokens 17776 --heads 30 --width 64 --rows 4

The fused kernel is replaced by one that only allocates its output, which is all that the real one keeps: the rest is
memory of the controls. Each line is measured in a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer

from animatic.controls.reweight import Reweight
from animatic.controls.sharing import ShareKV
from animatic.core.attention import fused_attention
from animatic.core.control import Run
from animatic.core.types import AttentionCall, Branch, Conditioning, Step

TEXT = 226


def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: object) -> torch.Tensor:
    return torch.ones(*q.shape[:-1], v.shape[-1], dtype=q.dtype) * torch.rand(q.shape[2], 1, dtype=q.dtype)


def peak(what: str, tokens: int, heads: int, width: int, count: int) -> float:
    """Megabytes."""
    F.scaled_dot_product_attention = kernel  # type: ignore[assignment]
    source = [Branch(True), Branch()] if count == 4 else [Branch()]
    branches = tuple(b for s in source for b in (s, Branch(s.negative, 1, kv_source=s if "share" in what else None)))
    q, k, v = (torch.zeros(len(branches), heads, tokens, width, dtype=torch.bfloat16).normal_() for _ in range(3))
    cells = tokens - TEXT
    call = AttentionCall("blocks.0.attn1", "joint", 1, slice(0, TEXT), (1, 1, cells), Step(0, 50, 0.0),
                Conditioning(torch.zeros(len(branches), 1, 1), branches), width)  # fmt: skip
    nothing: Any = None  # sharing in given layers asks neither a model nor a schedule
    sharing, reweight = ShareKV(("*",)).begin(Run(nothing, nothing, q)), Reweight({1: {5: 2.0, 6: 2.0}})
    if "masked" in what:
        sharing._words = {(0, 0): (5, 6), (1, 0): (5, 6)}
    attend = {"plain": fused_attention, "reweight": lambda *a: reweight.attend(fused_attention, *a)}.get(
        what, lambda *a: sharing.attend(fused_attention, *a)
    )
    attend(call, q, k, v, None)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(
    tokens: int = 17776, heads: int = 30, width: int = 64, rows: int = 4,
    one: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:  # fmt: skip
    """Print a line of JSON for each control."""
    torch.set_grad_enabled(False)
    if one:
        print(peak(one, tokens, heads, width, rows))
        return
    base = 0.0
    for what in ("plain", "share", "masked share", "reweight"):
        options = f"--tokens {tokens} --heads {heads} --width {width} --rows {rows} --one".split()
        run = subprocess.run([sys.executable, __file__, *options, what], capture_output=True, text=True, check=True)
        used = float(run.stdout.split()[-1])
        base = base or used
        print(
            json.dumps({"what": what, "rows": rows, "tokens": tokens, "MB beyond plain": round(used - base)}),
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
