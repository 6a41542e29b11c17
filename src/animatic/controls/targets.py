"""Which word should look where: the tokens of each thing in what a model is told, and the cells inside its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.control import Run
from ..core.text import ClipText
from ..errors import AnimaticError
from ..scene import Scene
from ..timeline import Timeline


@dataclass
class Targets:
    """`pairs` of one token and one thing, over all rows of a batch.

    `rows`, `columns` `[pair]`: where in `Maps` a pair's probabilities stand; `share` `[pair]`: its weight, so that the
    weights of a row sum to 1; `tokens` `[row, wanted]` is the request. Where every word is wanted it holds the `size`
    tokens of each prompt that names something, one prompt after the other. Masks are built once per layer size.
    """

    tokens: Tensor
    rows: Tensor
    columns: Tensor
    weights: Tensor
    scenes: Sequence[Scene]
    objects: list[tuple[int, tuple[int, ...]]]  # a pair's row and tracks
    frames: int
    legacy: bool
    size: int = 0
    _masks: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def in_run(
        cls, scenes: Sequence[Scene], run: Run, legacy: bool = False, every_word: bool = False, apart: bool = False
    ) -> Targets:
        """Of scenes, or stories, in what the model is told in a run. See `of`."""
        size = 0
        if run.cond is not None:
            size = run.cond.text.shape[1] // max((parts_of(scene) for scene in scenes), default=1)
        return cls.of(scenes, run.backbone.text, run.x.shape[2], run.x.device, legacy, every_word, size, apart)

    @classmethod
    def of(
        cls,
        scenes: Sequence[Scene],
        text: ClipText,
        frames: int,
        device: torch.device,
        legacy: bool = False,
        every_word: bool = False,
        size: int = 0,
        apart: bool = False,
    ) -> Targets:
        """Raises where a phrase is not in what the model is told. `every_word`: request all tokens.

        Things of the same words share their tokens: one target, or with `apart` one each (LVD). `size` are the tokens
        of each prompt, those of a story standing in a row; 0: as many as are read at once.
        """
        size = size or text.limit
        requests, pairs, things = [], [], []
        for row, scene in enumerate(scenes):
            named: dict[tuple, list[int]] = {}
            for i, track in enumerate(scene.tracks):
                part, said = scene.part(i)
                at = text.positions(said.prompt, track.phrase)
                if not at:
                    raise AnimaticError(f"phrase {track.phrase!r} is not in the prompt {said.prompt!r}; name it there")
                at = tuple(part * size + token for token in at)
                named.setdefault((at, i) if apart else (at,), []).append(i)
            wanted = dict.fromkeys(token for at, *_ in named for token in at)
            request = list(wanted)
            if every_word:
                parts = sorted({token // size for token in wanted})
                request = [part * size + i for part in parts for i in range(size)]
            for (at, *_), tracks in named.items():
                pairs += [(row, request.index(token), 1 / (len(at) * len(named))) for token in at]
                things += [(row, tuple(tracks))] * len(at)
            requests.append(request)
        most = max(1, *map(len, requests))
        tokens = torch.tensor([r + [0] * (most - len(r)) for r in requests], device=device)
        rows, columns = (torch.tensor([pair[i] for pair in pairs], dtype=torch.long, device=device) for i in (0, 1))
        share = torch.tensor([pair[2] for pair in pairs], device=device)
        return cls(tokens, rows, columns, share, scenes, things, frames, legacy, size)

    def masks(self, height: int, width: int) -> Tensor:
        """Cells inside a pair's boxes: float `[pair, frame, height, width]`, 0 or 1."""
        if (height, width) not in self._masks:
            made = [torch.from_numpy(s.masks(self.frames, height, width, self.legacy)) for s in self.scenes]
            some = [made[r][list(tracks)].any(0) for r, tracks in self.objects]
            empty = torch.zeros(0, self.frames, height, width)
            self._masks[height, width] = (torch.stack(some) if some else empty).float().to(self.tokens.device)
        return self._masks[height, width]

    def of_rows(self, values: Tensor) -> Tensor:
        """Sum a value per pair `[pair]` into one per row, by weight."""
        return values.new_zeros(len(self.tokens)).index_add(0, self.rows, values * self.weights)


def parts_of(scene: Scene | Timeline) -> int:
    """How many prompts a sample is told: one for each scene of a story."""
    return len(scene.scenes) if isinstance(scene, Timeline) else 1
