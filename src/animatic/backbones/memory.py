"""Memory options of a loaded model: quantised weights, offloading to main memory, gradient checkpointing."""

from __future__ import annotations

from importlib import import_module

import torch

from ..core.backbone import MemoryOptions
from .components import Components

QUANTIZERS = {"int8": "Int8WeightOnlyConfig", "fp8": "Float8WeightOnlyConfig"}  # torchao's names


def apply_memory_options(model: Components, options: MemoryOptions, device: torch.device) -> Components:
    """Apply `options` to `model`, loaded in its final type and with all adapters, and move it to `device`."""
    if options.save_memory:
        model.save_memory()
    if options.quantize:
        ao = import_module("torchao.quantization")  # optional, and heavy
        for part in (*model.networks, model.text):
            ao.quantize_(part, getattr(ao, QUANTIZERS[options.quantize])())

    # Without offloading everything is moved at once.
    if not options.offload:
        return model.to(device)
    from diffusers.hooks import apply_group_offloading

    model.compute_device = device
    for part in (*model.networks, model.vae, *model.text.encoders):
        blocks = part in model.networks
        apply_group_offloading(
            part, device, offload_type="block_level" if blocks else "leaf_level",
            num_blocks_per_group=1 if blocks else None, use_stream=device.type == "cuda",
        )  # fmt: skip
    return model
