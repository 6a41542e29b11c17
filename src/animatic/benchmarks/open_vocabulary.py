"""Open-vocabulary detectors: OWL-ViT, OWLv2 and GroundingDINO, through transformers."""

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
from .detect import DetectedBox

FRAMES = 16  # per forward pass


class Owl:
    """OWL-ViT (arXiv 2205.06230) or OWLv2 (arXiv 2306.09683). Score: sigmoid of the best query's logit."""

    def __init__(self, weights: str) -> None:
        self.model, self.processor = loaded(AutoModelForZeroShotObjectDetection, weights)

    @torch.no_grad()
    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]:
        """Every candidate box of each frame (see `detect.Detector`); thresholds are the caller's."""
        texts = [f"a photo of {named(query)}" for query in queries]  # the prompt of LMD and LVD
        size = frames.shape[1:3]
        found: list[list[DetectedBox]] = []

        # As many frames at once as memory allows, all queries with each of them.
        for part in np.split(frames, range(FRAMES, len(frames), FRAMES)):
            images = list(part)
            inputs = self.processor(text=[texts] * len(part), images=images, return_tensors="pt", truncation=True)
            outputs = self.model(**inputs.to(self.model.device))

            # Boxes in pixels to fractions of the frame.
            sizes = [size] * len(part)
            results = self.processor.post_process_grounded_object_detection(outputs, 0.0, target_sizes=sizes)
            for result in results:
                boxes = _found(result["labels"], result["boxes"], result["scores"], size)
                found.append(boxes)
        return found


class GroundingDino:
    """GroundingDINO (arXiv 2303.05499), one query a pass: no phrase of its answer can then be meant for another one."""

    def __init__(self, weights: str) -> None:
        self.model, self.processor = loaded(AutoModelForZeroShotObjectDetection, weights)

    @torch.no_grad()
    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]:
        """Every candidate box of each frame (see `detect.Detector`); thresholds are the caller's."""
        size = frames.shape[1:3]
        found: list[list[DetectedBox]] = [[] for _ in frames]
        starts = range(0, len(frames), FRAMES)
        for (q, query), start in product(enumerate(queries), starts):
            part = list(frames[start : start + FRAMES])

            # Its prompts are lower case and end with a full stop, as it was trained.
            text = [f"{query.lower()}."] * len(part)
            inputs = self.processor(text=text, images=part, return_tensors="pt")
            inputs = inputs.to(self.model.device)
            outputs = self.model(**inputs)

            # With one query per pass, every box belongs to it.
            sizes = [size] * len(part)
            results = self.processor.post_process_grounded_object_detection(
                outputs, inputs["input_ids"], threshold=0.0, text_threshold=1.0, target_sizes=sizes
            )
            for f, result in enumerate(results, start):
                scores = result["scores"]
                labels = torch.full((len(scores),), q)
                found[f] += _found(labels, result["boxes"], scores, size)
        return found


def named(query: str) -> str:
    """The query with an article."""
    first = query.split()[0]
    return query if first in ("a", "an", "the") else article(query)


def loaded(kind: Any, weights: str, processing: Any = AutoProcessor) -> tuple[Any, Any]:
    """A model and its processor from a folder or the hub. Raises `AnimaticError` where they are not at hand."""
    try:
        with quiet():
            model = kind.from_pretrained(weights)
            processor = processing.from_pretrained(weights)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AnimaticError(f"{weights}: weights are not on this machine and cannot be fetched ({reason})") from None

    # Frozen: nothing here is trained.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().requires_grad_(False).to(device), processor


def _found(labels: Tensor, boxes: Tensor, scores: Tensor, size: tuple[int, ...]) -> list[DetectedBox]:
    """Boxes in pixels to boxes in 0..1, clipped to the frame."""
    height, width = size

    # float64, so that a box at the edge is exactly at the edge.
    whole = torch.tensor([width, height, width, height])
    fractions = (boxes.cpu().double() / whole).clamp(0, 1)
    found = []
    triples = zip(labels.tolist(), fractions.tolist(), scores.tolist(), strict=True)
    for query, box, score in triples:
        x0, y0, x1, y1 = box
        found.append(DetectedBox(query, (x0, y0, x1, y1), score))
    return found
