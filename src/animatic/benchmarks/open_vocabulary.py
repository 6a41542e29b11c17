"""Detectors that take any words: OWL-ViT, OWLv2 and GroundingDINO, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from ..errors import AnimaticError
from ..prompting.english import article
from ..quiet import quiet
from ..scene import Box
from .detect import DetectedBox

FRAMES = 16  # looked at in one pass


class Owl:
    """OWL-ViT (Minderer et al. 2022) or OWLv2 (2023). A box's score is the sigmoid of its best query's logit."""

    def __init__(self, weights: str) -> None:
        self.model, self.processor = loaded(AutoModelForZeroShotObjectDetection, weights)

    @torch.no_grad()
    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]:
        texts = [f"a photo of {named(query)}" for query in queries]  # LMD, LVD
        found: list[list[DetectedBox]] = []
        for part in np.split(frames, range(FRAMES, len(frames), FRAMES)):
            told = self.processor(text=[texts] * len(part), images=list(part), return_tensors="pt", truncation=True)
            outputs = self.model(**told.to(self.model.device))
            sizes = [frame.shape[:2] for frame in part]
            for seen in self.processor.post_process_grounded_object_detection(outputs, 0.0, target_sizes=sizes):
                found.append(_found(seen["labels"], seen["boxes"], seen["scores"], frames.shape[1:3]))
        return found


class GroundingDino:
    """GroundingDINO (Liu et al. 2024), one query a pass: no phrase of its answer can then be meant for another one."""

    def __init__(self, weights: str) -> None:
        self.model, self.processor = loaded(AutoModelForZeroShotObjectDetection, weights)

    @torch.no_grad()
    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]:
        found: list[list[DetectedBox]] = [[] for _ in frames]
        for (q, query), start in product(enumerate(queries), range(0, len(frames), FRAMES)):
            part = list(frames[start : start + FRAMES])
            text = [f"{query.lower()}."] * len(part)
            told = self.processor(text=text, images=part, return_tensors="pt").to(self.model.device)
            outputs = self.model(**told)
            sizes = [frame.shape[:2] for frame in part]
            seen = self.processor.post_process_grounded_object_detection(
                outputs, told["input_ids"], threshold=0.0, text_threshold=1.0, target_sizes=sizes
            )
            for f, one in enumerate(seen, start):
                labels = torch.full((len(one["scores"]),), q)
                found[f] += _found(labels, one["boxes"], one["scores"], frames.shape[1:3])
        return found


def named(query: str) -> str:
    """The query with an article."""
    return query if query.split()[0] in ("a", "an", "the") else article(query)


def loaded(kind: Any, weights: str, processing: Any = AutoProcessor) -> tuple[Any, Any]:
    """A model and its processor from a folder or the hub. Raises `AnimaticError` where they are not at hand."""
    try:
        with quiet():
            model, processor = kind.from_pretrained(weights), processing.from_pretrained(weights)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AnimaticError(f"{weights}: weights are not on this machine and cannot be fetched ({reason})") from None
    return model.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu"), processor


def _found(labels: Tensor, boxes: Tensor, scores: Tensor, size: tuple[int, ...]) -> list[DetectedBox]:
    """Boxes in pixels to boxes in 0..1, cut to the frame."""
    height, width = size
    parts = (boxes.cpu().double() / torch.tensor([width, height, width, height])).clamp(0, 1)
    rows: list[Box] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in parts.tolist()]
    return [DetectedBox(q, box, score) for q, box, score in zip(labels.tolist(), rows, scores.tolist(), strict=True)]
