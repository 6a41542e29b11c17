"""What the sections of `runs/gpu.sh` share: the models with random weights, a meter, and tables whose rows may fail."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # the tiny models

from animatic.backbones.components import Components
from animatic.backbones.skeleton import skeleton
from animatic.quiet import quiet
from animatic.rehearsal_costs import cast

MODELS = ("zeroscope", "sd15", "cogvideox-2b", "wan2.1-1.3b")
SMALL = {"unet3d": (2, 64, 64), "unet2d": (1, 64, 64), "cogvideox": (9, 32, 48), "wan": (9, 32, 48)}
HALF = (torch.float16, torch.bfloat16)

Tiny = Annotated[bool, typer.Option(help="Tiny networks, as the tests make them.")]
Size = tuple[int, int, int]  # frames, height and width of a video, in pixels


def device_of(tiny: bool) -> torch.device:
    """The GPU; with `tiny` also a CPU, on one thread. Says which."""
    if torch.cuda.is_available():
        device, name = torch.device("cuda"), torch.cuda.get_device_name()
    elif tiny:
        device, name = torch.device("cpu"), "CPU"
        torch.set_num_threads(1)
    else:
        raise SystemExit("no GPU is found; want --tiny on a CPU")
    print(f"{name}, torch {torch.__version__}\n")
    return device


@contextmanager
def models(tiny: bool) -> Iterator[Sequence[str]]:
    """The models by name, or the folders of tiny ones while this context lasts."""
    if not tiny:
        yield MODELS
        return
    import tiny as folders

    with tempfile.TemporaryDirectory() as root, quiet():
        path = Path(root)
        yield [
            str(folders.folder(path / "unet3d", folders.unet3d())),
            str(folders.folder(path / "unet2d", folders.unet2d())),
            str(folders.cogvideox(path / "cogvideox")),
            str(folders.wan(path / "wan")),
        ]


def with_weights(name: str, device: torch.device, dtype: torch.dtype) -> tuple[Components, Size]:
    """A model with random weights in its denoising network, and the size of its videos.

    Its text encoder stays on the meta device, and its autoencoder has room for weights and none: neither is called.
    """
    bones = skeleton(name)
    cast(bones, dtype)
    model = bones.model
    network: Any = model.unet
    network.to_empty(device=device)
    model.vae.to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for part, weight in [*network.named_parameters(), *network.named_buffers()]:
            if weight.is_floating_point():
                # norms scale by one, as in a fresh network: activations stay finite in half precision
                if "norm" in part and weight.ndim == 1:
                    weight.fill_(float(part.endswith("weight")))
                else:
                    weight.normal_(std=0.02)
    network.eval().requires_grad_(False)
    geometry = model.geometry
    return model, SMALL.get(Path(name).name, (geometry.frames, geometry.height, geometry.width))


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


class Meter:
    """Seconds and memory of calls on one device: of a GPU by its own clock and allocator, of a CPU its CPU time."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"

    def seconds(self, call: Callable[[], Any]) -> float:
        if not self.on_gpu:
            began = time.process_time()
            call()
            return time.process_time() - began
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - began

    def least(self, repeat: int, call: Callable[[], Any]) -> float:
        """The least of `repeat` calls, after one to warm up."""
        self.seconds(call)
        return min(self.seconds(call) for _ in range(repeat))

    def gib(self, call: Callable[[], Any]) -> float:
        """Most memory that is allocated during a call, weights included; NaN on a CPU, where it is not counted."""
        if not self.on_gpu:
            return float("nan")
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() / 2**30


def unless_full(measure: Callable[[], float]) -> float | str:
    """What `measure` finds, or that the device has too little memory for it."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        return "out of memory"


def ratio(part: float | str, whole: float) -> float | str:
    """How many times `whole` is in `part`; "" where that was not measured."""
    return "" if isinstance(part, str) else part / whole


def heading(names: Sequence[str]) -> None:
    """Print the head of a table."""
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)


class Table:
    """A table that is printed row by row; a row that fails says why, and the next ones are made all the same."""

    def __init__(self, *head: str) -> None:
        self.failed = 0
        self._width = len(head)
        heading(head)

    def row(self, label: Sequence[str], figures: Callable[[], Sequence[float | str]]) -> None:
        """Print `label` and what `figures` measures."""
        try:
            cells = [figure if isinstance(figure, str) else f"{figure:.4g}" for figure in figures()]
        except Exception as error:  # whatever fails on a device that was never tried is to be seen, beside the rest
            self.failed += 1
            cells = [f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".replace("|", "/")]
            cells += [""] * (self._width - len(label) - 1)
        print(f"| {' | '.join([*label, *cells])} |", flush=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def end(self) -> None:
        """Exit with code 1 where a row has failed."""
        if self.failed:
            raise SystemExit(1)


def table_of_models(head: Sequence[str], figures: Callable[..., Sequence[float | str]], tiny: bool) -> None:
    """Print a table with a row for each model in each of `HALF`, of `figures(name, dtype, device, meter)`.

    `head` is of those figures. Exits with code 1 where a row has failed.
    """
    device = device_of(tiny)
    meter = Meter(device)
    table = Table("model", "type", *head)
    with models(tiny) as names:
        for name, dtype in product(names, HALF):
            label = Path(name).name, str(dtype).removeprefix("torch.")
            table.row(label, partial(figures, name, dtype, device, meter))
    table.end()
