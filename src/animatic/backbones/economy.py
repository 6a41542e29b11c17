"""Fitting a model into a machine: fewer bits a weight, weights in memory while they rest, less kept for backward."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from ..errors import AnimaticError
from .base import Components

DTYPES = ("float32", "bfloat16", "float16")
WEIGHTS = {"int8": "Int8WeightOnlyConfig", "fp8": "Float8WeightOnlyConfig"}  # torchao's names


@dataclass(frozen=True)
class Economy:
    """How to save memory; the default saves none.

    `dtype`: of the weights, one of DTYPES, "": float32 on a CPU, the model's own on a GPU. `quantize`: linear layers of
    networks and text encoder hold int8 or fp8 weights and compute as before (torchao). `offload`: weights wait in main
    memory and come to the device block by block. `less`: guided passes compute layers twice instead of keeping them,
    and video autoencoders decode tile by tile, which moves pixels a little at the seams.
    """

    dtype: str = ""
    quantize: str = ""
    offload: bool = False
    less: bool = False

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("quantize", tuple(WEIGHTS))):
            if (value := getattr(self, name)) and value not in known:
                raise AnimaticError(f"{name} is {value!r}; want one of {', '.join(known)}")
        if self.quantize and self.offload:
            raise AnimaticError("quantize and offload were both asked for; quantised weights cannot be moved: want one")
        if self.quantize and not find_spec("torchao"):
            raise AnimaticError(f"quantize is {self.quantize!r}, which needs torchao; pip install 'animatic[quantize]'")

    def apply(self, model: Components, device: torch.device) -> Components:
        """Make `model`, loaded in `dtype` and with all its adapters, work on `device`."""
        if self.less:
            model.save_memory()
        if self.quantize:
            import torchao.quantization as ao

            for part in (*model.networks, model.text):
                ao.quantize_(part, getattr(ao, WEIGHTS[self.quantize])())
        if not self.offload:
            return model.to(device)
        from diffusers.hooks import apply_group_offloading

        model.place = device
        for part in (*model.networks, model.vae, model.text.encoder):
            blocks = part in model.networks
            apply_group_offloading(
                part, device, offload_type="block_level" if blocks else "leaf_level",
                num_blocks_per_group=1 if blocks else None, use_stream=device.type == "cuda",
            )  # fmt: skip
        return model
