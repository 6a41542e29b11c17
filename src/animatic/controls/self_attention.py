"""Maps of the attention within the text and within the video: words to words, cells to cells, frames to frames.

After the visualisation of DiTCtrl (Cai et al. 2025, arXiv 2412.18597, https://github.com/TencentARC/DiTCtrl,
`VisualizeAdaLNMixin`).
"""

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
    """Calls `show` for each layer that matches `layers` (globs), at the noise levels numbered in `steps`, or at all.

    Three kinds of map, each a mean over heads in the conditional branch of the first sample: "text", every token of the
    prompt and its padding by every other; "space", the cells of the middle frame by one another; "time", the frames by
    one another at the middle cell. A layer has the kinds that it attends to: the joint attention of CogVideoX all
    three, Wan's own "space" and "time", a UNet's spatial and temporal layers one each. Probabilities are over all keys
    of the layer, so that those of a query do not sum to 1 where other keys are left out. Predictions do not change.
    """

    show: Show
    layers: tuple[str, ...] = ("*",)
    steps: tuple[int, ...] = ()
    reads_attention = True

    def begin(self, run: Run) -> SelfAttention:
        count = len(run.schedule)
        if late := [step for step in self.steps if step >= count]:
            raise AnimaticError(f"attention of step {late[0]} is requested; this run has steps 0 to {count - 1}")
        return self

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        shown = not self.steps or call.step.index in self.steps

        # passes with gradients belong to an energy, and would show every level several times
        if shown and not torch.is_grad_enabled() and call.kind != "cross" and matches_any(call.layer, self.layers):
            for i, branch in enumerate(call.cond.branches):
                if branch.negative or branch.sample != 0:
                    continue
                for kind, (entry, tokens) in _places(call, i).items():
                    map = _among(q[entry], k[entry], tokens)
                    self.show(call.layer, call.step.index, branch.first_frame, kind, map)
        return inner(call, q, k, v, mask)


def _places(call: AttentionCall, branch: int) -> dict[str, tuple[int, Tensor]]:
    """For each kind of map that a layer has: the batch entry of the branch of this index, and the tokens in it."""
    frames, height, width = call.grid
    cells = height * width
    middle_frame = frames // 2
    middle_cell = height // 2 * width + width // 2
    every_frame = torch.arange(frames)
    every_cell = torch.arange(cells)

    # networks with the frames or the cells in the batch have one kind of map
    first = branch * call.entries_per_branch
    if call.kind == "time":
        return {"time": (first + middle_cell, every_frame)}
    if call.entries_per_branch > 1:
        return {"space": (first + middle_frame, every_cell)}

    # transformers: one sequence of all frames, after the text in joint layers
    text = call.text_keys.stop if call.kind == "joint" else 0
    first_cell = text + middle_frame * cells
    of_frame = first_cell + every_cell
    over_time = text + every_frame * cells + middle_cell
    places = {}
    if text:
        places["text"] = (first, torch.arange(text))
    places["space"] = (first, of_frame)
    places["time"] = (first, over_time)
    return places


def _among(q: Tensor, k: Tensor, tokens: Tensor) -> Tensor:
    """Attention of `tokens` to one another `[token, token]`, the mean over heads; computed head by head to save memory.

    `q` and `k` are `[head, token, channel]`.
    """
    tokens = tokens.to(q.device)
    scale = q.shape[-1] ** -0.5
    total = torch.zeros(len(tokens), len(tokens), device=q.device)
    for queries, keys in zip(q, k, strict=True):
        own = queries[tokens].float()
        logits = own @ keys.float().T * scale
        probabilities = logits.softmax(-1)
        total += probabilities[:, tokens]
    return total / len(q)
