"""Where in its own picture a thing is: from its attention, or by SAM. Used by LMD to cut it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.folder import reading
from ..quiet import quiet


class Masking(Protocol):
    """A way to find things."""

    @property
    def needs_pixels(self) -> bool:
        """Whether the pictures must be finished first."""
        ...

    def __call__(self, heat: Tensor, pixels: Callable[[], Tensor], boxes: Tensor) -> Tensor:
        """Masks of things, bool `[thing, frame, height, width]`, on the grid of `boxes`, where their boxes are.

        `heat` is the mean attention of their words, on a grid of its own; `pixels` gives uint8
        `[thing, frame, height, width, 3]`.
        """
        ...


@dataclass(frozen=True)
class AttentionMask:
    """Cells of the box where attention is high. A mask that would be empty is the box.

    `threshold`: how high, between its least (0) and its most (1) in the frame. `sigma`: blur in cells of the attention
    (LMD: 1.5).
    """

    threshold: float = 0.25
    sigma: float = 0.5
    needs_pixels = False

    def __call__(self, heat: Tensor, pixels: Callable[[], Tensor], boxes: Tensor) -> Tensor:
        coarse = coarse_mask(heat, self.threshold, self.sigma, boxes.shape[-2:]) & boxes.bool()
        return torch.where(coarse.any(-1).any(-1)[..., None, None], coarse, boxes.bool())


def coarse_mask(heat: Tensor, threshold: float, sigma: float, size: Sequence[int]) -> Tensor:
    """Blurred, brought to 0..1 in each frame, enlarged to `size`, cut at `threshold`: bool `[thing, frame, h, w]`."""
    heat = gaussian(heat.float(), sigma)
    low, high = heat.amin((-2, -1), keepdim=True), heat.amax((-2, -1), keepdim=True)
    heat = (heat - low) / (high - low).clamp(min=1e-12)
    return F.interpolate(heat, tuple(size), mode="bilinear", align_corners=False) > threshold


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of `[..., height, width]`, sigma in cells, up to 4 sigma away; borders repeated."""
    reach = int(4 * sigma + 0.5)
    if not reach:
        return x
    at = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = x.flatten(0, -3)[:, None]
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), kernel[None, None, None, :])
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), kernel[None, None, :, None])
    return flat.view(x.shape)


@dataclass(frozen=True)
class SamMask:
    """Segment Anything (Kirillov et al. 2023) through transformers, asked with the box, LMD+'s way, or with a point.

    `source`: a folder or hub id such as facebook/sam-vit-base. With `point` it is asked with the cell of most
    attention (LMD). Of its three masks the one that `choose` names is taken. `threshold`: where attention counts as
    high, of its span in the frame, for that choice. `sigma`: blur of the attention in cells. `legacy`: a cell is in a
    mask where the mask touches its middle (LMD), not where it covers the pixel there.
    """

    source: str = "facebook/sam-vit-base"
    point: bool = False
    threshold: float = 0.25
    sigma: float = 1.5
    legacy: bool = False
    needs_pixels = True

    def __call__(self, heat: Tensor, pixels: Callable[[], Tensor], boxes: Tensor) -> Tensor:
        model, processor = self._load(heat.device)
        coarse = coarse_mask(heat, self.threshold, self.sigma, boxes.shape[-2:])
        images, out = pixels().cpu().numpy(), torch.zeros_like(boxes, dtype=torch.bool)
        for thing, frame in boxes.any(-1).any(-1).nonzero().tolist():
            image = images[thing, frame]
            asked = self._ask(heat[thing, frame], boxes[thing, frame], image.shape[0], image.shape[1])
            inputs = processor(image, return_tensors="pt", **asked).to(heat.device)
            with torch.no_grad():
                found = model(**inputs)
            sizes = inputs["original_sizes"].cpu(), inputs["reshaped_input_sizes"].cpu()
            masks = processor.image_processor.post_process_masks(found.pred_masks.cpu(), *sizes)[0][0]
            mode = "bilinear" if self.legacy else "nearest"
            small = F.interpolate(masks[None].float(), boxes.shape[-2:], mode=mode)[0].bool().to(heat.device)
            near = coarse[thing, frame]
            overlap = (small & near).sum((1, 2)) / (small | near).sum((1, 2)).clamp(min=1)
            best = choose(small.sum((1, 2)).tolist(), found.iou_scores[0, 0].tolist(), overlap.tolist())
            out[thing, frame] = small[best]
        return torch.where(out.any(-1).any(-1)[..., None, None], out, boxes.bool())

    def _ask(self, heat: Tensor, box: Tensor, height: int, width: int) -> dict[str, Any]:
        if self.point:
            y, x = np.unravel_index(int(heat.argmax()), heat.shape)
            return {"input_points": [[[x * width / heat.shape[1], y * height / heat.shape[0]]]]}
        rows, columns = box.any(1).nonzero().flatten().tolist(), box.any(0).nonzero().flatten().tolist()
        tall, wide = height / box.shape[0], width / box.shape[1]
        corners = [columns[0] * wide, rows[0] * tall, (columns[-1] + 1) * wide, (rows[-1] + 1) * tall]
        return {"input_boxes": [[corners]]}

    def _load(self, device: torch.device) -> tuple[Any, Any]:
        from transformers import SamModel, SamProcessor

        with reading(f"SAM {self.source!r} cannot be loaded"), quiet():
            model: Any = SamModel.from_pretrained(self.source)
            return model.to(device).eval(), SamProcessor.from_pretrained(self.source)


def choose(areas: Sequence[float], confidences: Sequence[float], overlaps: Sequence[float]) -> int:
    """Which of SAM's masks: the largest that SAM is sure of (0.85) and that meets the coarse mask (IoU 0.25); LMD."""
    most = max(areas)
    scores = [
        area - most * (sure < 0.85) - most * (overlap < 0.25)
        for area, sure, overlap in zip(areas, confidences, overlaps, strict=True)
    ]
    return scores.index(max(scores))
