"""CLIP's view of a video (Radford et al. 2021): likeness to the prompt, and of each frame to the next."""

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

        `text` (CLIPSIM, Wu et al. 2021): mean of the frames with the prompt. `consistency`: mean of each frame with the
        next. `cscv`: see there, on the vision tower's pooled output before projection, as upstream; `cscv frozen` is
        that of the first frame standing still, the control that a score of evenness must be read against. Of a prompt
        beyond the text tower's 77 tokens the end is not seen.
        """
        words = self.processor.tokenizer([prompt], return_tensors="pt", truncation=True)
        pooled_text = self.model.text_model(**words.to(self.model.device)).pooler_output
        pixels = self.processor.image_processor(images=list(frames), return_tensors="pt")["pixel_values"]
        pooled = self.model.vision_model(pixels.to(self.model.device)).pooler_output
        image = self.model.visual_projection(pooled).float().cpu().numpy()
        text = self.model.text_projection(pooled_text).float().cpu().numpy()
        both = [cosines(np.stack([frame, text[0]]))[0] for frame in image]
        values = {"clip text": float(np.mean(both))}
        if len(frames) > 1:
            features = pooled.float().cpu().numpy()
            values["clip consistency"] = float(cosines(image).mean())
            values["cscv"] = cscv(features)
            values["cscv frozen"] = cscv(features[:1].repeat(len(features), 0))
        return values
