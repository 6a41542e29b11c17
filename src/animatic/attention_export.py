"""Attention written to files: the mean of a run, and layer by layer, step by step, laid over the frames."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .callbacks import Callback
from .controls.attention_maps import AttentionMaps
from .controls.self_attention import SelfAttention
from .controls.sharing import ShareKV
from .core.control import Control
from .core.types import Branch
from .errors import AnimaticError
from .files import write_atomically
from .planning.lexicon import FUNCTION
from .scene import Scene
from .timeline import Timeline
from .video import Video, attention_overlay, png, side_by_side

LEAST = 192  # pixels of height to which small videos are enlarged
ABREAST = 6  # panels beside one another


@dataclass
class AttentionExport(Callback):
    """A callback that records the attention of a run, for `write` after it.

    `whole`: its mean. `of`: LAYERS[@STEPS], globs and numbers with commas. With `back`, the attention of words to the
    video. `within`, like `of`: how text and video attend to themselves. `masks`: those by which windows share keys and
    values. `means` are by phrase.
    """

    whole: bool = False
    of: str = ""
    back: bool = False
    within: str = ""
    masks: bool = False
    means: dict[str, np.ndarray] = field(default_factory=dict)
    _each: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    mask_count: int = 0
    _matrices: dict[str, np.ndarray] = field(default_factory=dict)

    def controls(self, controls: list[Control], shown: Sequence[Scene | Timeline]) -> list[Control]:
        """The controls of a run with those that record attention; where nothing is placed, that to every word."""
        if self.masks:
            controls = [replace(c, show=self._mask) if isinstance(c, ShareKV) else c for c in controls]
        observers: list[Control] = []
        if self.within:
            observers.append(SelfAttention(self._matrix, *_layers_and_steps(self.within)))
        if self.whole or self.of:
            layers, steps = _layers_and_steps(self.of)
            each = self._one if self.of else None
            observers.append(AttentionMaps(self._mean, layers, steps, self.back, each, words=_content_words))
        elif self.back:
            raise AnimaticError("attention of words was requested without layers; want the whole, or of layers")
        return [*observers, *controls]

    def _mean(self, row: int, phrase: str, heat: Tensor) -> None:
        self.means[phrase] = heat.cpu().numpy()

    def _one(self, row: int, phrase: str, layer: str, step: int, heat: Tensor) -> None:
        self._each.setdefault(f"{step:03}-{layer}", {})[phrase] = (heat / heat.amax().clamp(min=1e-12)).cpu().numpy()

    def _mask(self, layer: str, step: int, row: Branch, source: Tensor, own: Tensor) -> None:
        for kind, mask in (("mask-source", source), ("mask-target", own)):
            self._matrix(layer, step, row.first_frame, kind, torch.cat(list(mask), 1))  # frames side by side
            self.mask_count += 1

    def _matrix(self, layer: str, step: int, first: int, kind: str, map: Tensor) -> None:
        window = f"-from-{first}" if first else ""
        self._matrices[f"{step:03}-{layer}{window}.{kind}"] = map.float().cpu().numpy()

    def write(self, video: Video, target: Path, formats: Sequence[str]) -> list[Path]:
        """`TARGET.attention.gif` of the mean, `TARGET.attention/STEP-LAYER.*` of each; one panel a phrase.

        Of attention within text or video `STEP-LAYER.KIND.npy`, in probabilities, and a picture of it, white its most.
        """
        files = []
        if self.means:
            files.append(panels(video, self.means).save(target.with_name(f"{target.name}.attention.gif")))
        folder = target.with_name(f"{target.name}.attention")
        for name, heats in self._each.items():
            page, stem = panels(video, heats), _file_name(name)
            files += [page.save(folder / f"{stem}.{suffix}") for suffix in formats]
        for name, matrix in self._matrices.items():
            folder.mkdir(parents=True, exist_ok=True)
            stem, numbers = _file_name(name), io.BytesIO()
            np.save(numbers, matrix)
            for suffix, content in (("npy", numbers.getvalue()), ("png", png(_picture(matrix)))):
                write_atomically(folder / f"{stem}.{suffix}", content)
                files.append(folder / f"{stem}.{suffix}")
        return files


def _layers_and_steps(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """LAYERS[@STEPS]: globs and numbers with commas. No layers are all of them, no steps too."""
    layers, _, numbers = text.partition("@")
    if any(not n.strip().isdigit() for n in numbers.split(",") if numbers):
        raise AnimaticError(f"attention steps are {numbers!r}; want numbers with commas, such as 10,25")
    sites = tuple(glob.strip() for glob in layers.split(",") if glob.strip()) or ("*",)
    return sites, tuple(int(n) for n in numbers.split(",") if n)


def _content_words(prompt: str) -> list[str]:
    """Every word of a prompt, once each, but for function words: what is recorded where nothing is placed."""
    return list(dict.fromkeys(word for word in re.findall(r"\w\w+", prompt) if word.lower() not in FUNCTION))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "-", name)


def _picture(matrix: np.ndarray) -> Image.Image:
    """A map stretched from black to white, small ones enlarged."""
    low, high = matrix.min(), matrix.max()
    grey = Image.fromarray(((matrix - low) / max(high - low, 1e-12) * 255 + 0.5).astype(np.uint8))
    scale = max(1, LEAST // grey.height)
    return grey.resize((grey.width * scale, grey.height * scale), Image.Resampling.NEAREST)


def panels(video: Video, heats: dict[str, np.ndarray]) -> Video:
    """Maps by phrase over the frames, side by side, `ABREAST` in a row."""
    scale = max(1, LEAST // video.frames.shape[1])
    each = [attention_overlay(video, heat, phrase, scale) for phrase, heat in heats.items()]
    if len(each) > ABREAST:
        blank = replace(each[0], frames=np.zeros_like(each[0].frames))
        each += [blank] * (-len(each) % ABREAST)
    rows = [side_by_side(each[i : i + ABREAST]).frames for i in range(0, len(each), ABREAST)]
    return replace(each[0], frames=np.concatenate(rows, 1))
