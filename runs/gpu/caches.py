"""Unguided runs in bf16: exact, with features reused (`--fast`), and with the network compiled.

`apart` is how far the clean latents are from the exact ones, relative to their norm; with random weights it says that
a run was another, not what it costs in quality.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench import Meter, Table, Tiny, device_of, models
from pipelines import STEPS, Bench
from torch import Tensor

from animatic.errors import AnimaticError


def apart(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact.float()).norm() / exact.float().norm())


def figures(name: str, device: torch.device, meter: Meter, compiled: bool) -> list[float | str]:
    """Of a model: see the head of the table."""
    bench = Bench.of(name, device, torch.bfloat16)
    exact = bench.ours()
    seconds = meter.least(1, bench.ours) / STEPS

    reuse = bench.model.feature_cache()
    if reuse is None:
        raise AnimaticError(f"nothing in {name} can be reused; want a model that --fast serves")
    fast = bench.ours(reuse=reuse)
    with_reuse = meter.least(1, lambda: bench.ours(reuse=reuse)) / STEPS
    reused = f"{reuse.reused} of {reuse.passes}"
    found = [seconds, with_reuse, with_reuse / seconds, reused, apart(fast, exact)]
    if not compiled:
        return [*found, *[float("nan")] * 4]

    # the first run compiles
    network: Any = bench.model.unet
    network.compile()
    first = meter.seconds(bench.ours)
    after = meter.least(1, bench.ours) / STEPS
    return [*found, first, after, after / seconds, apart(bench.ours(), exact)]


def main(
    tiny: Tiny = False,
    compiled: Annotated[bool, typer.Option(help="Also compiled by torch.compile, which takes minutes.")] = True,
) -> None:
    """Print a table of Markdown."""
    device = device_of(tiny)
    meter = Meter(device)
    table = Table("model", "exact s/step", "fast s/step", "fast / exact", "passes reused", "apart",
                  "first compiled run s", "compiled s/step", "compiled / exact", "apart")  # fmt: skip
    with models(tiny) as names:
        for name in names:
            table.row([Path(name).name], lambda name=name: figures(name, device, meter, compiled))
    table.end()


if __name__ == "__main__":
    typer.run(main)
