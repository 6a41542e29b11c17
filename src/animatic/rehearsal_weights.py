"""Bytes of a model's weights by part, on the device, and to be fetched from the hub.

They are counted on a skeleton: parameters on torch's meta device, which have shapes and no values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .backbones.skeleton import Skeleton
from .core.backbone import MemoryOptions


def weights_of(bones: Skeleton, quantize: str) -> dict[str, int]:
    """Bytes of the weights by part; `quantize` as in `MemoryOptions`, of networks and text encoders alone."""
    model: Any = bones.model
    parts = {
        "network": model.unet,
        "second network": bones.second,
        "text encoders" if len(model.text.encoders) > 1 else "text encoder": model.text,
        "autoencoder": model.vae,
    }
    sizes = {}
    for name, part in parts.items():
        if part is not None:
            sizes[name] = _size(part, bool(quantize) and name != "autoencoder")
    return sizes


def _size(part: nn.Module, quantized: bool) -> int:
    size = sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))
    if quantized:
        # Linear layers have one byte a weight.
        for module in part.modules():
            if isinstance(module, nn.Linear):
                size -= module.weight.nbytes - module.weight.numel()
    return size


def bytes_on_device(bones: Skeleton, weights: Mapping[str, int], offload: bool) -> int:
    """Bytes of weights on the device: all, or with offloading two blocks of the network, as the next is prefetched."""
    if not offload:
        return sum(weights.values())

    # The largest block of the networks, and the largest layer of the other parts.
    largest = 0
    for network in bones.model.networks:
        for module in network.modules():
            if isinstance(module, nn.ModuleList):
                largest = max(largest, *(_size(block, False) for block in module), 0)
    others = (*bones.model.text.modules(), *bones.model.vae.modules())
    leaves = [module for module in others if not list(module.children())]
    return max(2 * largest, *(_size(leaf, False) for leaf in leaves))


def bytes_to_download(bones: Skeleton, dtype: str, memory: MemoryOptions) -> int | None:
    """Bytes that the hub sends; 0 for a folder, None where the files' sizes are not known.

    Files of half precision are fetched where it is requested, as `load` does.
    """
    if not bones.source:
        return 0
    if bones.download is None:
        return None
    return bones.download["float16" if memory.dtype == "float16" else "float32"]
