"""The attention of pixels to boxes in GLIGEN's layers, recorded while a network is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from diffusers.models.attention import GatedSelfAttentionDense
from torch import Tensor, nn

from ..controls.grounding import MOST


@contextmanager
def recorded_box_attention(unet: nn.Module, frames: int, objects: int) -> Iterator[dict[str, Tensor]]:
    """Within this context each call records the attention of pixels to the first `objects` boxes in every GLIGEN layer.

    Maps are `[sample, frame, head, height, width, object]` by the name of the layer. Their loss teaches pixels inside a
    box to attend to it, which the denoising loss alone does only very slowly.
    """
    maps: dict[str, Tensor] = {}

    def record(name: str, attention: Any, hidden: Tensor) -> None:
        # The sequence is the pixels and then MOST boxes; only pixels are queries.
        pixels = hidden.shape[1] - MOST
        q = attention.to_q(hidden[:, :pixels])
        k = attention.to_k(hidden)
        split = (attention.heads, -1)
        q = q.unflatten(-1, split).transpose(1, 2)
        k = k.unflatten(-1, split).transpose(1, 2)
        products = q @ k.transpose(-1, -2)
        logits = products * attention.scale
        probabilities = logits.softmax(-1)
        to_boxes = probabilities[..., pixels : pixels + objects]

        # Frames are entries of the batch of a spatial layer.
        side = round(pixels**0.5)
        by_cell = to_boxes.unflatten(2, (side, side))
        maps[name] = by_cell.unflatten(0, (-1, frames))

    handles = []
    for name, layer in unet.named_modules():
        if isinstance(layer, GatedSelfAttentionDense):
            hook = partial(_call_with_input, record, name)
            handles.append(layer.attn.register_forward_pre_hook(hook))
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _call_with_input(record: Callable[[str, Any, Tensor], None], name: str, attention: Any, args: Any) -> None:
    """A forward pre-hook that passes the input of an attention layer to `record`."""
    record(name, attention, *args)
