"""Energy guidance: before each step, move the sample downhill on an energy of its text attention.

x <- x - scale * sqrt(1 - alpha_bar) * dE/dx   (LMD eq. 4, LVD eq. 4)

The energy is asked of the conditional rows alone, through `inner`: whatever is nested inside (grounding, windows,
sharing) is guided too. What the energies themselves are stands in `terms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import AnimaticError
from ..sampling import Cond, Control, Denoise, Maps, Run, Step
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
    def of(cls, scenes: Sequence[Scene], text: ClipText, frames: int, device: torch.device, legacy: bool) -> Targets:
        """Raises where a phrase is not in what the model is told."""
        requests, rows, columns, share, things = [], [], [], [], []
        for r, scene in enumerate(scenes):
            named: dict[tuple, list[int]] = {}
            for i, track in enumerate(scene.tracks):
                at = text.positions(told(scene), track.phrase)
                if not at:
                    raise AnimaticError(f"phrase {track.phrase!r} is not in the prompt {told(scene)!r}; name it there")
                # things of the same words share their tokens: one target, unless the original's arithmetic is wanted
                named.setdefault((at, i) if legacy else (at,), []).append(i)
            request: list[int] = []
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


Terms = Callable[[Mapping[str, Tensor], Targets], Tensor]  # found maps, targets -> energy [row]


@dataclass
class Energy(Control):
    """Up to `iters` steps downhill on `terms` at each of the first `until` (share) of the noise levels.

    A row whose energy is at or below `threshold` is left alone, judged anew at every step; with `legacy` the value
    judged is carried over between steps, as in LMD and LVD, so that a row once good is never looked at again.
    """

    scenes: Sequence[Scene] = field(repr=False)
    terms: Terms
    sites: tuple[str, ...] = ("*",)
    scale: float = 5.0
    until: float = 0.25
    iters: int = 5
    threshold: float = 0.0
    legacy: bool = False
    needs = frozenset({"text maps"})
    _targets: Targets | None = field(default=None, repr=False)
    _last: Tensor | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Energy:
        if len(self.scenes) != len(run.x):
            raise AnimaticError(f"Energy has {len(self.scenes)} scenes for {len(run.x)} samples; want one each")
        targets = Targets.of(self.scenes, run.backbone.text, run.x.shape[2], run.x.device, self.legacy)
        return replace(self, _targets=targets, _last=run.x.new_full((len(run.x),), torch.inf))

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        targets, last = self._targets, self._last
        if step.clean or step.fraction >= self.until or targets is None or last is None or not len(targets.rows):
            return x
        if not self.legacy:
            last = torch.full_like(last, torch.inf)
        for _ in range(self.iters):
            active = last > self.threshold
            if not active.any():
                break
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                maps = Maps(targets.tokens, self.sites)
                inner(x, step, replace(cond.positive, maps=maps))
                if not maps.found:
                    raise AnimaticError(f"sites {self.sites} match no text attention layer of this model")
                energy = self.terms(maps.found, targets)
                (gradient,) = torch.autograd.grad(energy.sum(), x)
            if not torch.isfinite(gradient).all():
                raise AnimaticError(
                    f"Energy at step {step.index}: the gradient is not finite; lower scale ({self.scale})"
                )
            # gain^2: the update is meant in variance-preserving units, x and its gradient are both in the scheduler's
            x = x.detach() - self.scale * step.noise * step.gain**2 * gradient * active.view(-1, 1, 1, 1, 1)
            last = torch.where(active, energy.detach(), last)
        self._last = last
        return x.detach()
