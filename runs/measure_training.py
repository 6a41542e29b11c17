"""One training step compared with video-diffusion-pytorch and diffusers: CPU time and peak memory, one thread.

pip install --no-deps --target ORIGINAL video-diffusion-pytorch==0.7.0 einops einops-exts rotary-embedding-torch
python runs/measure_training.py ORIGINAL [--shape 1,3,10,64,64] [--rounds 3]

Forward and backward of 35.7 M parameters, all networks in one process by turns, the least of the rounds; peak memory of
a process of its own for each. The original imports torchvision for its data loader alone: an empty one stands in.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import types
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import torch
from torch import nn

from animatic.backbones.convert import from_vdp
from animatic.backbones.small import SpaceTimeUNet

FAST = {"dim": 64, "design": "fast"}
NAMES = ("original", "original's arithmetic", "fast design", "diffusers UNet3D")


def original() -> nn.Module:
    parts: list[Any] = [types.ModuleType(f"torchvision{part}") for part in ("", ".transforms", ".utils")]
    vision, vision.transforms, vision.utils = parts  # the loader alone wants it: an empty one stands in
    vision.transforms.ToTensor = lambda: None
    sys.modules.update({part.__name__: part for part in parts})
    package: Any = import_module("video_diffusion_pytorch")
    return package.Unet3D(dim=64)


def diffusers_unet() -> nn.Module:
    from diffusers import UNet3DConditionModel

    return UNet3DConditionModel(
        in_channels=3,
        out_channels=3,
        block_out_channels=(64, 128, 192, 192),
        layers_per_block=2,
        cross_attention_dim=64,
        attention_head_dim=32,
        norm_num_groups=16,
    )


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    match name:
        case "original":
            return original()
        case "original's arithmetic":
            return from_vdp(original().state_dict())
        case "fast design":
            return SpaceTimeUNet(**FAST)
        case _:
            return diffusers_unet()


def step(name: str, network: nn.Module, x: torch.Tensor, noise: torch.Tensor) -> float:
    t = torch.full((len(x),), 500)
    if name == NAMES[3]:
        answer = network(x, t, encoder_hidden_states=x.new_zeros(len(x), 1, 64)).sample
    else:
        answer = network(x, t)
    loss = (answer - noise).abs().mean()
    loss.backward()
    return loss.item()


def data(shape: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    return x, noise


def memory(name: str, shape: list[int]) -> None:
    network = (
        SpaceTimeUNet(design="original") if name == NAMES[1] else build(name)
    )  # not while the original is measured
    x, noise = data(shape)
    before = peak()
    for _ in range(2):
        step(name, network, x, noise)
    print(json.dumps({"peak": peak(), "above the model": peak() - before}))


def peak() -> int:
    """The most memory this process has held, in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("original")
    parser.add_argument("--shape", default="1,3,5,32,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--memory", default="")
    args = parser.parse_args()
    sys.path.append(args.original)
    torch.set_num_threads(1)
    shape = [int(n) for n in args.shape.split(",")]
    if args.memory:
        return memory(args.memory, shape)
    names: list[str] = args.only.split(",") if args.only else list(NAMES)
    networks, (x, noise) = {name: build(name) for name in names}, data(shape)
    best = dict.fromkeys(names, float("inf"))
    losses = {}
    for _ in range(args.rounds + 1):
        for name, network in networks.items():
            began = time.process_time()
            losses[name] = step(name, network, x, noise)
            best[name] = min(best[name], time.process_time() - began)
    print(json.dumps({"shape": shape, "rounds": args.rounds, "torch": torch.__version__, "threads": 1}))
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    networks.clear()  # their memory is wanted below
    for name in names:
        child = [sys.executable, __file__, args.original, "--shape", args.shape, "--memory", name]
        done = subprocess.run(child, check=False, capture_output=True, text=True)
        used = json.loads(done.stdout) if done.returncode == 0 else f"ended with {done.returncode}"
        ratio = {f"/ {other}": round(best[name] / best[other], 3) for other in names[:1] + names[3:] if other != name}
        print(
            json.dumps({"network": name, "parameters": sizes[name], "cpu s": round(best[name], 3), **ratio, "MB": used})
        )
        print(f"    loss {losses[name]:.6f}")


if __name__ == "__main__":
    main()
