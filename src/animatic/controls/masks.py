"""Segmentation of an object in its own image: from its attention, or by Segment Anything (SAM). Used by LMD.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion; SAM: Kirillov et al. 2023,
arXiv 2304.02643, https://github.com/facebookresearch/segment-anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.folder import reading
from ..quiet import quiet

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")


class Masking(Protocol):
    """A way to segment objects."""

    @property
    def needs_pixels(self) -> bool:
        """Whether the images must be denoised to the end first."""
        ...

    def check(self) -> None:
        """Raise `AnimaticError` where it cannot be done, such as for want of a model's files."""
        ...

    def __call__(self, attention: Tensor, pixels: Callable[[], Tensor], boxes: Tensor) -> Tensor:
        """Masks of objects, bool `[object, frame, height, width]`, on the grid of `boxes`.

        `attention` is the mean attention of their words `[object, frame, h, w]`, on a grid of its own; `pixels` returns
        uint8 `[object, frame, height, width, 3]`; `boxes` are the cells of their boxes, bool.
        """
        ...


@dataclass(frozen=True)
class AttentionMask:
    """Cells of the box where attention is high. A mask that would be empty is the box.

    `threshold`: how high, between its minimum (0) and its maximum (1) in the frame. `sigma`: blur in cells of the
    attention (LMD: 1.5).
    """

    threshold: float = 0.25
    sigma: float = 0.5
    needs_pixels = False

    def check(self) -> None:
        """Nothing is needed but the attention."""

    def __call__(self, attention: Tensor, pixels: Callable[[], Tensor], boxes: Tensor) -> Tensor:
        boxes = boxes.bool()
        coarse = coarse_mask(attention, self.threshold, self.sigma, boxes.shape[-2:]) & boxes
        return _or_boxes(coarse, boxes)


def coarse_mask(attention: Tensor, threshold: float, sigma: float, size: Sequence[int]) -> Tensor:
    """Attention blurred, scaled to 0..1 by frame, enlarged to `size`, thresholded: bool `[object, frame, h, w]`."""
    attention = gaussian(attention.float(), sigma)
    low = attention.amin((-2, -1), keepdim=True)
    high = attention.amax((-2, -1), keepdim=True)

    # the lower bound keeps a constant map from 0 / 0: it has no cell above the threshold
    spread = (high - low).clamp(min=1e-12)
    scaled = (attention - low) / spread
    larger = F.interpolate(scaled, tuple(size), mode="bilinear", align_corners=False)
    return larger > threshold


def _or_boxes(masks: Tensor, boxes: Tensor) -> Tensor:
    """Masks `[object, frame, height, width]`, an empty one replaced by its box."""
    found = masks.any(-1).any(-1)
    found = found[..., None, None]  # [object, frame, 1, 1]
    return torch.where(found, masks, boxes)


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of `[..., height, width]`, sigma in cells, up to 4 sigma away; borders repeated."""
    reach = int(4 * sigma + 0.5)  # 4 sigma, rounded: scipy's default
    if not reach:
        return x

    distance = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-(distance**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    along_x = kernel[None, None, None, :]
    along_y = kernel[None, None, :, None]

    # one axis after the other; "replicate" pads the last two axes of a batch of images only
    images = x.flatten(0, -3)
    images = images[:, None]  # [image, 1, height, width]
    padded = F.pad(images, (reach, reach, 0, 0), mode="replicate")
    images = F.conv2d(padded, along_x)
    padded = F.pad(images, (0, 0, reach, reach), mode="replicate")
    images = F.conv2d(padded, along_y)
    return images.view(x.shape)


@dataclass(frozen=True)
class SamMask:
    """Segment Anything through transformers, prompted with the box (LMD+) or with a point (LMD).

    `source`: a folder or hub id such as facebook/sam-vit-base. With `point` it is prompted with the cell of highest
    attention. Of its three masks the one that `choose` names is taken. `threshold`: from which attention, scaled to
    0..1 in each frame, a cell counts for that choice. `sigma`: blur of the attention in cells. `legacy`: a cell is in a
    mask where the mask touches its middle (LMD), not where it covers the pixel there.
    """

    source: str = "facebook/sam-vit-base"
    point: bool = False
    threshold: float = 0.25
    sigma: float = 1.5
    legacy: bool = False
    needs_pixels = True

    def check(self) -> None:
        """Find the model's files, fetching them where they are on the hub, without reading the weights."""
        from transformers import SamConfig
        from transformers.utils import cached_file

        with self._reading():
            SamConfig.from_pretrained(self.source)
            found = [
                cached_file(self.source, name, _raise_exceptions_for_missing_entries=False) for name in WEIGHT_FILES
            ]
            if not any(found):
                raise OSError(f"no {' or '.join(WEIGHT_FILES)}")

    def __call__(self, attention: Tensor, pixels: Callable[[], Tensor], boxes: Tensor) -> Tensor:
        model, processor = self._load(attention.device)
        size = boxes.shape[-2:]
        coarse = coarse_mask(attention, self.threshold, self.sigma, size)
        images = pixels().cpu().numpy()
        mode = "bilinear" if self.legacy else "nearest"

        out = torch.zeros_like(boxes, dtype=torch.bool)
        present = boxes.any(-1).any(-1)  # [object, frame]
        for i, frame in present.nonzero().tolist():
            # SAM's three masks and its confidence in each
            image = images[i, frame]
            height, width = image.shape[:2]
            prompt = self._prompt(attention[i, frame], boxes[i, frame], height, width)
            inputs = processor(image, return_tensors="pt", **prompt).to(attention.device)
            with torch.no_grad():
                found = model(**inputs)
            confidences = found.iou_scores[0, 0].tolist()

            # back from SAM's square to the image, whose sizes the processor reads on the CPU
            original = inputs["original_sizes"].cpu()
            reshaped = inputs["reshaped_input_sizes"].cpu()
            predicted = found.pred_masks.cpu()
            batch = processor.image_processor.post_process_masks(predicted, original, reshaped)
            masks = batch[0][0]  # of the one image and its one prompt: [mask, height, width]

            # and to the grid of cells
            on_grid = F.interpolate(masks[None].float(), size, mode=mode)
            masks = on_grid[0].bool()
            masks = masks.to(attention.device)

            # intersection over union with the mask that the attention gives
            near = coarse[i, frame]
            common = (masks & near).sum((1, 2))
            united = (masks | near).sum((1, 2))
            overlaps = common / united.clamp(min=1)
            areas = masks.sum((1, 2))
            best = choose(areas.tolist(), confidences, overlaps.tolist())
            out[i, frame] = masks[best]
        return _or_boxes(out, boxes.bool())

    def _prompt(self, attention: Tensor, box: Tensor, height: int, width: int) -> dict[str, Any]:
        """SAM's prompt in pixels of an image of this size: a point, or a box."""
        rows, columns = box.shape
        cell_height = height / rows
        cell_width = width / columns
        if self.point:
            # the cell's first corner, not its middle
            row, column = np.unravel_index(int(attention.argmax()), attention.shape)
            x = column * width / attention.shape[1]
            y = row * height / attention.shape[0]
            point = [x, y]
            return {"input_points": [[point]]}  # by image and by object

        inside_rows = box.any(1).nonzero().flatten().tolist()
        inside_columns = box.any(0).nonzero().flatten().tolist()
        left = inside_columns[0] * cell_width
        right = (inside_columns[-1] + 1) * cell_width
        top = inside_rows[0] * cell_height
        bottom = (inside_rows[-1] + 1) * cell_height
        corners = [left, top, right, bottom]
        return {"input_boxes": [[corners]]}  # by image and by object

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Errors of reading the model as one line."""
        hint = "; want a folder with it, or --set composition.mask=attention"
        with reading(f"SAM {self.source!r} cannot be loaded", hint), quiet():
            yield

    def _load(self, device: torch.device) -> tuple[Any, Any]:
        from transformers import SamModel, SamProcessor

        with self._reading():
            model: Any = SamModel.from_pretrained(self.source)
            return model.to(device).eval(), SamProcessor.from_pretrained(self.source)


def choose(areas: Sequence[float], confidences: Sequence[float], overlaps: Sequence[float]) -> int:
    """Index of the best of SAM's masks, by LMD's rule.

    It is the largest by area of those with a confidence of 0.85 that overlap the coarse mask (IoU 0.25).
    """
    penalty = max(areas)
    scores = []
    for area, confidence, overlap in zip(areas, confidences, overlaps, strict=True):
        score = area
        if confidence < 0.85:
            score -= penalty
        if overlap < 0.25:
            score -= penalty
        scores.append(score)
    return scores.index(max(scores))
