"""Attention maps of a render for the page: of each phrase over all of a run, and layer by layer, step by step.

One JSON file holds them as bytes, on grids as small as those of the layers: the page draws them over the video.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..callbacks import Callback
from ..controls.attention_maps import AttentionMaps
from ..core.attention import resized
from ..core.control import Control
from ..files import write_atomically
from ..scene import Scene
from ..timeline import Timeline

VERSION = 1
SIDE = 32  # cells: maps of larger grids are reduced to it
STEPS = 8  # that are kept at most
CELLS = 8_000_000  # of all single layers together, each a byte of the file and four in memory; one step is always kept
ALL = None  # the layer or step of a mean over all


class AttentionRecording(Callback):
    """Records the attention of words while it is `active`.

    `means` are by phrase `[frame, height, width]`, in 0..1 of their own maximum. Of single layers no more than `STEPS`
    steps are kept, evenly spread, and fewer where they have many cells: their number is not known before the run, so
    that every other one is dropped whenever there are too many.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self.means: dict[str, np.ndarray] = {}
        self._stride = 1
        self._by_step: dict[int, dict[str, dict[str, Tensor]]] = {}  # step: layer: phrase: map

    def controls(self, controls: list[Control], shown: Sequence[Scene | Timeline]) -> list[Control]:
        if not self.active:
            return controls

        # outermost: it sees what the method's controls do
        return [AttentionMaps(self._mean, each=self._layer), *controls]

    def _mean(self, sample: int, phrase: str, heat: Tensor) -> None:
        self.means[phrase] = heat.float().cpu().numpy()

    def _layer(self, sample: int, phrase: str, layer: str, step: int, heat: Tensor) -> None:
        if step % self._stride:
            return
        kept = self._by_step.setdefault(step, {}).setdefault(layer, {})
        kept[phrase] = _reduced(heat.float()).cpu()
        while len(self._by_step) > 1 and (len(self._by_step) > STEPS or self._cells > CELLS):
            self._stride *= 2
            self._by_step = {i: layers for i, layers in self._by_step.items() if i % self._stride == 0}

    @property
    def _cells(self) -> int:
        layers = [layer for of_step in self._by_step.values() for layer in of_step.values()]
        return sum(heat.numel() for layer in layers for heat in layer.values())

    def save(self, path: Path, frames: int) -> Path:
        """Write the maps of a video of so many frames, then forget them and record no more.

        {"version", "frames", "words", "layers", "steps", "maps": [{"word", "layer", "step", "shape", "data"}]}:
        `layer` and `step` are null for the mean over all, `shape` is [frame, height, width], `data` its bytes in
        base64, 255 the map's own maximum.
        """
        steps = sorted(self._by_step)
        layers = list(dict.fromkeys(layer for step in steps for layer in self._by_step[step]))
        data = {
            "version": VERSION,
            "frames": frames,
            "words": list(self.means),
            "layers": layers,
            "steps": steps,
            "maps": list(self._maps(layers, steps)),
        }
        write_atomically(path, json.dumps(data, ensure_ascii=False).encode())
        self.active = False
        self.means = {}
        self._by_step = {}
        return path

    def _maps(self, layers: Sequence[str], steps: Sequence[int]) -> Iterator[dict[str, Any]]:
        for phrase, mean in self.means.items():
            found = {
                (layer, step): self._by_step[step][layer][phrase]
                for layer in layers
                for step in steps
                if phrase in self._by_step[step].get(layer, {})
            }
            yield _entry(phrase, ALL, ALL, _reduced(torch.from_numpy(mean)))
            for (layer, step), heat in found.items():
                yield _entry(phrase, layer, step, heat)

            # means over one of both
            for layer in layers:
                if of_layer := [heat for (name, _), heat in found.items() if name == layer]:
                    yield _entry(phrase, layer, ALL, _averaged(of_layer))
            for step in steps:
                if of_step := [heat for (_, number), heat in found.items() if number == step]:
                    yield _entry(phrase, ALL, step, _averaged(of_step))


def _reduced(heat: Tensor) -> Tensor:
    """A map `[frame, height, width]` on a grid of no more than `SIDE` cells a side, in its proportions."""
    height, width = heat.shape[-2:]
    factor = min(1.0, SIDE / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return resized(heat[None], size)[0]


def _averaged(maps: Sequence[Tensor]) -> Tensor:
    """The mean of maps `[frame, height, width]`, on the grid of the largest of them."""
    frames = max(len(heat) for heat in maps)
    height = max(heat.shape[1] for heat in maps)
    width = max(heat.shape[2] for heat in maps)

    on_grid = []
    for heat in maps:
        # a token of a layer may span several frames
        places = torch.linspace(0, len(heat) - 1, frames).round().long()
        on_grid.append(resized(heat[None, places], (height, width))[0])
    return torch.stack(on_grid).mean(0)


def _entry(phrase: str, layer: str | None, step: int | None, heat: Tensor) -> dict[str, Any]:
    highest = heat.amax().clamp(min=1e-12)
    levels = (heat / highest * 255).round().to(torch.uint8).numpy()
    data = base64.b64encode(levels.tobytes()).decode()
    return {"word": phrase, "layer": layer, "step": step, "shape": list(levels.shape), "data": data}
