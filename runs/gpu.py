"""What a step costs on this GPU, in fp16 and bf16, at true size with random weights, beside diffusers' own network.

    runs/gpu.sh                      # everything, some 25 minutes
    python runs/gpu.py --tiny        # the same code on tiny networks, on the CPU too

For each model: a step of two branches by diffusers' network with its own attention processors, by ours with the same
inputs, by ours compiled, and a guided pass of LVD. Seconds are the least of `--repeat`, by turns in one process; memory
is the most that was allocated meanwhile, weights included. Nothing is fetched.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from animatic.backbones.components import Components
from animatic.backbones.skeleton import Skeleton, skeleton
from animatic.core.attention import fused_attention
from animatic.core.types import AttentionMapRequest, Branch, Conditioning, Step
from animatic.errors import AnimaticError
from animatic.methods import method_named
from animatic.rehearsal_costs import energy_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

MODELS = ("zeroscope", "sd15", "cogvideox-2b", "wan2.1-1.3b")
SMALL = (1, 64, 64)  # frames, height and width of a tiny network's video
STEP = Step(0, 50, 900.0, noise=0.9)
HEAD = ("model", "type", "diffusers s", "ours s", "ours / diffusers", "compiled s", "guided pass s", "guided / ours",
        "GiB of a step", "GiB of a guided pass")  # fmt: skip


def tiny_folders(root: Path) -> Iterator[str]:
    """Folders of the real classes at tiny size, as the tests make them."""
    import tiny

    yield str(tiny.folder(root / "unet3d", tiny.unet3d()))
    yield str(tiny.folder(root / "unet2d", tiny.unet2d()))
    yield str(tiny.cogvideox(root / "cogvideox"))
    yield str(tiny.wan(root / "wan"))


def with_weights(bones: Skeleton, device: torch.device, dtype: torch.dtype) -> Components:
    """The denoising network with random weights on the device; text encoder and autoencoder stay without."""
    network: Any = bones.model.unet
    network.to_empty(device=device).to(dtype)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in [*network.named_parameters(), *network.named_buffers()]:
            if weight.is_floating_point():
                # norms scale by one, as in a fresh network: activations stay finite in half precision
                if "norm" in name and weight.ndim == 1:
                    weight.fill_(float(name.endswith("weight")))
                else:
                    weight.normal_(std=0.02)
    network.eval().requires_grad_(False)
    return bones.model


class Meter:
    """Seconds and memory of calls on one device: of a GPU by its own clock and allocator, of a CPU its CPU time."""

    def __init__(self, device: torch.device, repeat: int) -> None:
        self.on_gpu = device.type == "cuda"
        self.repeat = repeat

    def least(self, **calls: Callable[[], Any]) -> dict[str, float]:
        """Least seconds of each call, taken in turns; the first turn warms up."""
        best = dict.fromkeys(calls, float("inf"))
        for turn in range(self.repeat + 1):
            for name, call in calls.items():
                seconds = self._seconds(call)
                if turn:
                    best[name] = min(best[name], seconds)
        return best

    def _seconds(self, call: Callable[[], Any]) -> float:
        if not self.on_gpu:
            began = time.process_time()
            call()
            return time.process_time() - began
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - began

    def gib(self, call: Callable[[], Any]) -> float:
        """Most memory that is allocated during a call; NaN on a CPU, whose allocator does not count."""
        if not self.on_gpu:
            return float("nan")
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() / 2**30


@contextmanager
def plain_processors(network: Any) -> Iterator[None]:
    """Within this context the network has the attention processors with which diffusers builds it."""
    ours = dict(network.attn_processors)
    with torch.device("meta"):
        fresh = type(network).from_config(network.config)
    network.set_attn_processor(dict(fresh.attn_processors))
    try:
        yield
    finally:
        network.set_attn_processor(ours)


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


def row(name: str, dtype: torch.dtype, device: torch.device, meter: Meter, compiles: bool, small: bool) -> list[str]:
    """The measurements of a model in one type, at its own size or at a small one."""
    bones = skeleton(name)
    model = with_weights(bones, device, dtype)
    network: Any = model.unet
    words: Any = model.text
    geometry = model.geometry
    shape = geometry.latent(*(SMALL if small else (geometry.frames, geometry.height, geometry.width)))

    # two branches of a step, and one of a guided pass; transformers take latents in float32
    latents = torch.randn(2, *shape, device=device)
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
    step: dict[str, float] = {}
    for _ in range(2):
        with plain_processors(network):
            found = meter.least(stock=stock)
        found |= meter.least(ours=ours, guided=guided)
        step = {key: min(step.get(key, value), value) for key, value in found.items()}
    memory = meter.gib(ours), meter.gib(guided)

    compiled = float("nan")
    if compiles:
        network.compile()
        compiled = meter.least(compiled=ours)["compiled"]
    figures = (step["stock"], step["ours"], step["ours"] / step["stock"], compiled, step["guided"],
               step["guided"] / step["ours"], *memory)  # fmt: skip
    return [Path(name).name, str(dtype).removeprefix("torch."), *(f"{figure:.4g}" for figure in figures)]


def main(
    tiny: Annotated[bool, typer.Option(help="Tiny networks, as the tests make them.")] = False,
    repeat: Annotated[int, typer.Option(help="Times each is run, after one to warm up.")] = 3,
    compiled: Annotated[bool, typer.Option(help="Also compiled by torch.compile, which takes minutes.")] = True,
) -> None:
    """Print a table of Markdown."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not tiny:
        raise SystemExit("no GPU is found; want --tiny on a CPU")
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    meter = Meter(device, repeat)
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, torch {torch.__version__}\n")
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    with tempfile.TemporaryDirectory() as root:
        for name in tiny_folders(Path(root)) if tiny else MODELS:
            for dtype in (torch.float16, torch.bfloat16):
                print(f"| {' | '.join(row(name, dtype, device, meter, compiled, tiny))} |", flush=True)
                if device.type == "cuda":
                    torch.cuda.empty_cache()


if __name__ == "__main__":
    typer.run(main)
