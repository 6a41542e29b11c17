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
from .contact_sheet import png
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
from .video import Video, attention_overlay, side_by_side

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
            layers, steps = _layers_and_steps(self.within)
            observers.append(SelfAttention(self._matrix, layers, steps))
        if self.whole or self.of:
            layers, steps = _layers_and_steps(self.of)
            each = self._one if self.of else None
            maps = AttentionMaps(self._mean, layers, steps, self.back, each, words=_content_words)
            observers.append(maps)
        elif self.back:
            raise AnimaticError("attention of words was requested without layers; want the whole, or of layers")

        # outermost: they see what the method's controls do
        return [*observers, *controls]

    def _mean(self, row: int, phrase: str, heat: Tensor) -> None:
        self.means[phrase] = heat.cpu().numpy()

    def _one(self, row: int, phrase: str, layer: str, step: int, heat: Tensor) -> None:
        by_phrase = self._each.setdefault(f"{step:03}-{layer}", {})
        highest = heat.amax().clamp(min=1e-12)
        by_phrase[phrase] = (heat / highest).cpu().numpy()

    def _mask(self, layer: str, step: int, row: Branch, source: Tensor, own: Tensor) -> None:
        for kind, mask in (("mask-source", source), ("mask-target", own)):
            frames = torch.cat(list(mask), 1)  # side by side: [height, frame * width]
            self._matrix(layer, step, row.first_frame, kind, frames)
            self.mask_count += 1

    def _matrix(self, layer: str, step: int, first: int, kind: str, map: Tensor) -> None:
        window = f"-from-{first}" if first else ""
        name = f"{step:03}-{layer}{window}.{kind}"
        self._matrices[name] = map.float().cpu().numpy()  # numpy has no bfloat16

    def write(self, video: Video, target: Path, formats: Sequence[str]) -> list[Path]:
        """`TARGET.attention.gif` of the mean, `TARGET.attention/STEP-LAYER.*` of each; one panel a phrase.

        Of attention within text or video `STEP-LAYER.KIND.npy`, in probabilities, and a picture of it, white its most.
        """
        files = []
        if self.means:
            mean = target.with_name(f"{target.name}.attention.gif")
            files.append(panels(video, self.means).save(mean))

        # of every layer and level
        folder = target.with_name(f"{target.name}.attention")
        for name, heats in self._each.items():
            page = panels(video, heats)
            stem = _file_name(name)
            files += [page.save(folder / f"{stem}.{suffix}") for suffix in formats]

        # attention within text or video: its numbers, and a picture of them
        for name, matrix in self._matrices.items():
            folder.mkdir(parents=True, exist_ok=True)
            stem = _file_name(name)
            numbers = io.BytesIO()
            np.save(numbers, matrix)
            picture = png(_picture(matrix))
            for suffix, content in (("npy", numbers.getvalue()), ("png", picture)):
                path = folder / f"{stem}.{suffix}"
                write_atomically(path, content)
                files.append(path)
        return files


def _layers_and_steps(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """LAYERS[@STEPS]: globs and numbers with commas. No layers are all of them, no steps too."""
    layers, _, numbers = text.partition("@")
    sites = [glob.strip() for glob in layers.split(",") if glob.strip()]
    if not sites:
        sites = ["*"]

    # "".split(",") has one text, an empty one
    parts = numbers.split(",") if numbers else []
    if any(not part.strip().isdigit() for part in parts):
        raise AnimaticError(f"attention steps are {numbers!r}; want numbers with commas, such as 10,25")
    return tuple(sites), tuple(map(int, parts))


def _content_words(prompt: str) -> list[str]:
    """Every word of a prompt, once each, but for function words: what is recorded where nothing is placed."""
    words = re.findall(r"\w\w+", prompt)
    content = [word for word in words if word.lower() not in FUNCTION]
    return list(dict.fromkeys(content))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "-", name)


def _picture(matrix: np.ndarray) -> Image.Image:
    """A map stretched from black to white, small ones enlarged."""
    low = matrix.min()
    high = matrix.max()
    spread = max(high - low, 1e-12)
    levels = (matrix - low) / spread * 255
    rounded = (levels + 0.5).astype(np.uint8)
    grey = Image.fromarray(rounded)

    # whole multiples, so that every cell is a square of one size
    scale = max(1, LEAST // grey.height)
    size = (grey.width * scale, grey.height * scale)
    return grey.resize(size, Image.Resampling.NEAREST)


def panels(video: Video, heats: dict[str, np.ndarray]) -> Video:
    """Maps by phrase over the frames, side by side, `ABREAST` in a row."""
    height = video.frames.shape[1]
    scale = max(1, LEAST // height)
    each = [attention_overlay(video, heat, phrase, scale) for phrase, heat in heats.items()]
    first = each[0]

    # rows are as wide as one another: the last is filled with black panels
    if len(each) > ABREAST:
        black = np.zeros_like(first.frames)
        blank = replace(first, frames=black)
        missing = -len(each) % ABREAST
        each += [blank] * missing

    rows = []
    for start in range(0, len(each), ABREAST):
        row = side_by_side(each[start : start + ABREAST])
        rows.append(row.frames)
    return replace(first, frames=np.concatenate(rows, 1))
