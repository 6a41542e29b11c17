"""Energy guidance: before each step, move the sample downhill on an energy of its text attention.

x <- x - scale * sqrt(1 - alpha_bar) * dE/dx   (LMD eq. 4, LVD eq. 4)

The energy is asked of the conditional rows alone, through `inner`: whatever is nested inside (grounding, windows,
sharing) is guided too. What the energies themselves are stands in `terms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from ..errors import AnimaticError
from ..sampling import Cond, Control, Denoise, Maps, Run, Share, Step
from ..scene import Scene
from ..text import ClipText, told


@dataclass
class Targets:
    """Which token should look where: `pairs` of one token and one thing, over all rows of a batch.

    `rows`, `columns` `[pair]`: where in `Maps` a pair's probabilities stand; `share` `[pair]`: its weight, so that the
    weights of a row sum to 1; `tokens` `[row, wanted]` is the request. Masks are built once per layer size.
    """

    tokens: Tensor
    rows: Tensor
    columns: Tensor
    share: Tensor
    scenes: Sequence[Scene]
    things: list[tuple[int, tuple[int, ...]]]  # a pair's row and tracks
    frames: int
    legacy: bool
    _masks: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        scenes: Sequence[Scene],
        text: ClipText,
        frames: int,
        device: torch.device,
        legacy: bool = False,
        every_word: bool = False,
    ) -> Targets:
        """Raises where a phrase is not in what the model is told. `every_word`: request all tokens."""
        requests, rows, columns, share, things = [], [], [], [], []
        for r, scene in enumerate(scenes):
            named: dict[tuple, list[int]] = {}
            for i, track in enumerate(scene.tracks):
                part, said = scene.part(i)
                at = text.positions(told(said), track.phrase)
                if not at:
                    raise AnimaticError(f"phrase {track.phrase!r} is not in the prompt {told(said)!r}; name it there")
                at = tuple(part * text.limit + token for token in at)  # a story's texts stand in a row
                # things of the same words share their tokens: one target, unless the original's arithmetic is wanted
                named.setdefault((at, i) if legacy else (at,), []).append(i)
            request = list(range(text.limit)) if every_word else []
            for (at, *_), tracks in named.items():
                for token in at:
                    if token not in request:
                        request.append(token)
                    rows.append(r)
                    columns.append(request.index(token))
                    things.append((r, tuple(tracks)))
                    share.append(1 / (len(at) * len(named)))
            requests.append(request)
        most = max(1, max(len(r) for r in requests))
        tokens = torch.tensor([r + [0] * (most - len(r)) for r in requests], device=device)
        r, c = (torch.tensor(v, dtype=torch.long, device=device) for v in (rows, columns))
        return cls(tokens, r, c, torch.tensor(share, device=device), scenes, things, frames, legacy)

    def masks(self, height: int, width: int) -> Tensor:
        """Cells inside a pair's boxes: float `[pair, frame, height, width]`, 0 or 1."""
        if (height, width) not in self._masks:
            made = [torch.from_numpy(s.masks(self.frames, height, width, self.legacy)) for s in self.scenes]
            some = [made[r][list(tracks)].any(0) for r, tracks in self.things]
            empty = torch.zeros(0, self.frames, height, width)
            self._masks[height, width] = (torch.stack(some) if some else empty).float().to(self.tokens.device)
        return self._masks[height, width]

    def of_rows(self, values: Tensor) -> Tensor:
        """Sum a value per pair `[pair]` into one per row, by weight."""
        return values.new_zeros(len(self.tokens)).index_add(0, self.rows, values * self.share)


class Terms(Protocol):
    """What an energy is made of: found maps and targets to an energy `[row]`, at a noise level."""

    @property
    def every_word(self) -> bool:
        """Whether it needs the attention of all words, not only of those that name things."""
        ...

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor: ...


def by_noise(step: Step) -> float:
    """sqrt(1 - alpha_bar)."""
    return step.noise


@dataclass(frozen=True)
class Fading:
    """sqrt of what falls linearly from 1 at the first level to `last` at the last, whatever the noise (BoxDiff)."""

    last: float = 0.5

    def __call__(self, step: Step) -> float:
        return (1 - (1 - self.last) * step.index / max(1, step.count - 1)) ** 0.5


@dataclass
class Energy(Control):
    """Up to `iters` steps downhill on `terms` at each of the first `until` (share) of the noise levels.

    `iters` is one number, or one for each level, of which the last stands for all that follow. A step is
    `scale` x `shape` of the level x gradient. A row whose energy is at or below `threshold` is left alone, judged anew
    at every step; with `legacy` the value judged is carried over between steps, as in LMD and LVD, so that a row once
    good is never looked at again.
    """

    scenes: Sequence[Scene] = field(repr=False)
    terms: Terms
    sites: tuple[str, ...] = ("*",)
    scale: float = 5.0
    until: Share = 0.25
    iters: int | tuple[int, ...] = 5
    threshold: float = 0.0
    shape: Callable[[Step], float] = by_noise
    legacy: bool = False
    needs = frozenset({"text maps"})
    _targets: Targets | None = field(default=None, repr=False)
    _last: Tensor | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Energy:
        if len(self.scenes) != len(run.x):
            raise AnimaticError(f"Energy has {len(self.scenes)} scenes for {len(run.x)} samples; want one each")
        targets = Targets.of(
            self.scenes, run.backbone.text, run.x.shape[2], run.x.device, self.legacy, self.terms.every_word
        )
        return replace(self, _targets=targets, _last=run.x.new_full((len(run.x),), torch.inf))

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        targets, last = self._targets, self._last
        if step.clean or step.fraction >= self.until or targets is None or last is None or not len(targets.rows):
            return x
        if not self.legacy:
            last = torch.full_like(last, torch.inf)
        active = last > self.threshold
        for _ in range(self._iters_at(step.index) if bool(active.any()) else 0):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                maps = Maps(targets.tokens, self.sites, only=True)
                inner(x, step, replace(cond.positive, maps=maps))
                energy = self.terms(maps.found, targets, step)
                (gradient,) = torch.autograd.grad(energy.sum(), x)
            # gain^2: the update is meant in variance-preserving units, x and its gradient are both in the scheduler's
            size = self.scale * self.shape(step) * step.gain**2
            x = x.detach() - size * gradient * active.view(-1, 1, 1, 1, 1)
            last = torch.where(active, energy.detach(), last)
            active = last > self.threshold
            finite, more = torch.stack([torch.isfinite(x).all(), active.any()]).tolist()  # the one wait for the device
            if not finite:
                raise AnimaticError(
                    f"Energy at step {step.index}: the update is not finite; lower scale ({self.scale})"
                )
            if not more:
                break
        self._last = last
        return x.detach()

    def _iters_at(self, index: int) -> int:
        return self.iters if isinstance(self.iters, int) else self.iters[min(index, len(self.iters) - 1)]
