"""Video metrics from CLIP (arXiv 2103.00020): similarity to the prompt, and of each frame to the next."""

from __future__ import annotations

import numpy as np
import torch
from transformers import CLIPModel

from .metrics import cosines, cscv
from .open_vocabulary import loaded

WEIGHTS = "openai/clip-vit-base-patch32"  # DiTCtrl's


class ClipMetrics:
    def __init__(self, weights: str = WEIGHTS) -> None:
        self.model, self.processor = loaded(CLIPModel, weights)

    @torch.no_grad()
    def __call__(self, frames: np.ndarray, prompt: str) -> dict[str, float]:
        """Of uint8 `[frame, height, width, 3]`; the first two are cosines.

        `text` (CLIPSIM, arXiv 2104.14806): mean of the frames with the prompt. `consistency`: mean of each frame with
        the next. `cscv`: see there, on the vision tower's pooled output before projection, as upstream; `cscv frozen`
        is that of the first frame standing still, the control that a score of evenness must be read against. Of a
        prompt beyond the text tower's 77 tokens the end is not seen.
        """
        # Each tower once: the pooled output before the projection is what CSCV is measured on.
        model = self.model
        words = self.processor.tokenizer([prompt], return_tensors="pt", truncation=True)
        pooled_text = model.text_model(**words.to(model.device)).pooler_output
        inputs = self.processor.image_processor(images=list(frames), return_tensors="pt")
        pixels = inputs["pixel_values"].to(model.device)
        pooled = model.vision_model(pixels).pooler_output

        # Features of frames `[frame, channel]` and of the prompt `[1, channel]` in the common space.
        image = model.visual_projection(pooled).float().cpu().numpy()
        text = model.text_projection(pooled_text).float().cpu().numpy()
        similarities = []
        for frame in image:
            pair = np.stack([frame, text[0]])
            similarities.append(cosines(pair)[0])
        values = {"clip text": float(np.mean(similarities))}
        if len(frames) > 1:
            # A single frame has no next one.
            features = pooled.float().cpu().numpy()
            frozen = features[:1].repeat(len(features), 0)
            values["clip consistency"] = float(cosines(image).mean())
            values["cscv"] = cscv(features)
            values["cscv frozen"] = cscv(frozen)
        return values
