"""Attention within the text and within the video: how words attend to words, and the video to itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.attention import matches_any
from ..core.control import Control, Run
from ..core.types import Attend, AttentionCall
from ..errors import AnimaticError

Show = Callable[[str, int, int, str, Tensor], None]
"""(layer, step, first frame of the window, kind, map `[query, key]` in probabilities). See `SelfAttention`."""


@dataclass
class SelfAttention(Control):
    """Calls `show` for each layer that matches `sites` (globs), at the noise levels numbered in `steps`, or at all.

    Three kinds of map, each a mean over heads in the conditional branch of the first sample: "text", every token of the
    prompt and its padding by every other; "space", the cells of the middle frame by one another; "time", the frames by
    one another at the middle cell. A layer shows what it sees: the joint attention of CogVideoX all three, Wan's own
    "space" and "time", a UNet's spatial and temporal layers one each. Probabilities are over all keys of the layer, so
    that rows do not sum to 1 where others are left out. Changes nothing. After the visualisation of DiTCtrl (Cai et
    al. 2025, `VisualizeAdaLNMixin`).
    """

    show: Show
    sites: tuple[str, ...] = ("*",)
    steps: tuple[int, ...] = ()

    def begin(self, run: Run) -> SelfAttention:
        if late := [step for step in self.steps if step >= len(run.schedule)]:
            raise AnimaticError(
                f"attention of step {late[0]} is wanted; this run has steps 0 to {len(run.schedule) - 1}"
            )
        return self

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        wanted = not self.steps or site.step.index in self.steps
        # guided passes are not the run's own, and would show every level several times
        if wanted and not torch.is_grad_enabled() and site.kind != "cross" and matches_any(site.layer, self.sites):
            for i, row in enumerate(site.cond.branches):
                if not row.negative and row.sample == 0:
                    for kind, (entry, tokens) in _places(site, i).items():
                        self.show(
                            site.layer, site.step.index, row.first_frame, kind, _among(q[entry], k[entry], tokens)
                        )
        return inner(site, q, k, v, mask)


def _places(site: AttentionCall, row: int) -> dict[str, tuple[int, Tensor]]:
    """For each kind of map that a layer shows: the entry of its batch, and the tokens of it."""
    frames, height, width = site.grid
    cells, frame = height * width, frames // 2
    cell = height // 2 * width + width // 2
    first = row * site.entries_per_branch
    if site.kind == "time":
        return {"time": (first + cell, torch.arange(frames))}
    if site.entries_per_branch > 1:
        return {"space": (first + frame, torch.arange(cells))}

    text = site.text_keys.stop if site.kind == "joint" else 0
    places = {
        "space": (first, text + frame * cells + torch.arange(cells)),
        "time": (first, text + torch.arange(frames) * cells + cell),
    }
    return {"text": (first, torch.arange(text)), **places} if text else places


def _among(q: Tensor, k: Tensor, tokens: Tensor) -> Tensor:
    """Attention of `tokens` to one another `[token, token]`: head by head, so that no more is held than one needs."""
    tokens = tokens.to(q.device)
    total = torch.zeros(len(tokens), len(tokens), device=q.device)
    for queries, keys in zip(q, k, strict=True):
        logits = queries[tokens].float() @ keys.float().T * q.shape[-1] ** -0.5
        total += logits.softmax(-1)[:, tokens]
    return total / len(q)
