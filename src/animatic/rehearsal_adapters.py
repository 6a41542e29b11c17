"""What LoRAs and embeddings take: memory while they are added, and the vectors that stay.

A LoRA is added to the weights once, so that a render with it takes what one without it takes; while it is added the
file and one changed layer are in memory beside the weights. An embedding makes the table of a text encoder longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .backbones.lora import LoraRequest, changes_of
from .backbones.skeleton import Skeleton
from .backbones.textual_inversion import EmbeddingRequest, read_embedding

COPIES = 4  # of the layer that is changed, in float32: the product, its multiple, the weight before and after
FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Added:
    """Bytes: `reading` beside the weights while one is added, the most of all; `vectors` that stay."""

    reading: int = 0
    vectors: int = 0


def added_memory(
    bones: Skeleton,
    loras: Sequence[str | tuple[str, float, str]],
    embeddings: Sequence[str | tuple[str, str]],
    dtype: str,
) -> Added:
    """What the files take on a model without weights, whose weights are of type `dtype`.

    They are named as in a request, or as they are typed: FILE[:SCALE[:NETWORK]] and FILE[:WORD].

    Raises `AnimaticError` where a file cannot be read, or a LoRA does not fit the model.
    """
    reading = 0
    for given in loras:
        lora = LoraRequest.of(given) if isinstance(given, str) else LoraRequest(Path(given[0]), *given[1:])
        changes = changes_of(bones.model, lora.file, lora.network)
        updates = {id(update): update for _, update in changes}.values()  # two networks share those of one file
        numbers = 0
        for update in updates:
            tensors = (update.down, update.up, update.bias, update.magnitude)
            numbers += sum(tensor.numel() for tensor in tensors if tensor is not None)
        largest = max((update.up.shape[0] * update.down[0].numel() for update in updates), default=0)
        reading = max(reading, (numbers + COPIES * largest) * FLOAT32)

    vectors = 0
    for each in embeddings:
        embedding = EmbeddingRequest.of(each) if isinstance(each, str) else EmbeddingRequest(Path(each[0]), each[1])
        found = read_embedding(embedding.file, embedding.word)
        numbers = sum(rows.numel() for rows in found.vectors)
        reading = max(reading, numbers * FLOAT32)
        vectors += numbers * (FLOAT32 if dtype == "float32" else FLOAT32 // 2)
    return Added(reading, vectors)
