"""Attention of one branch to the keys and values of another, everywhere or guided by masks of the objects.

Mask-guided KV sharing of DiTCtrl (Cai et al. 2025, arXiv 2412.18597, https://github.com/TencentARC/DiTCtrl).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.attention import ALL, part_of_mask, resized_in_time
from ..core.types import Attend, AttentionCall


@dataclass(frozen=True)
class KeysAndValues:
    """What a layer computed for a branch: `k`, `v` `[entry, head, token, channel]`, and where it shows the objects."""

    k: Tensor
    v: Tensor
    mask: Tensor | None

    def detached(self) -> KeysAndValues:
        """Without a way back for gradients."""
        return KeysAndValues(self.k.detach(), self.v.detach(), self.mask)

    def for_reader(self, k: Tensor, v: Tensor, words: int) -> tuple[Tensor, Tensor]:
        """Keys and values for a branch that reads these in place of its own `k`, `v`, but for its first `words` tokens.

        Channels of `v` beyond those of a head are map requests: the reader keeps its own.
        """
        source_k = self.k
        source_v = self.v
        width = source_v.shape[-1]
        if words:
            # text comes first in the sequence
            own_k = k[:, :, :words]
            own_v = v[:, :, :words, :width]
            source_k = torch.cat([own_k, source_k[:, :, words:]], 2)
            source_v = torch.cat([own_v, source_v[:, :, words:]], 2)
        requests = v[..., width:]
        return source_k, torch.cat([source_v, requests], -1)


@dataclass(frozen=True)
class MaskPair:
    """Where a branch and its source show the objects: `[frame, height, width]` in 0..1, None where not known."""

    own: Tensor | None
    source: Tensor | None

    @property
    def known(self) -> bool:
        """Whether both are known."""
        return self.own is not None and self.source is not None


@dataclass(frozen=True)
class ObjectAttention:
    """Attention to the words of the objects, summed over `count` layers: `[frame, height, width]`."""

    total: Tensor
    count: int

    def plus(self, cells: Tensor) -> ObjectAttention:
        """With the attention of one more layer, `[frame, height, width]` on a grid of its own."""
        on_grid = _on(self.total.shape, cells)
        return ObjectAttention(self.total + on_grid, self.count + 1)

    def mask(self, grid: tuple[int, int, int]) -> Tensor:
        """The mean on a layer's grid, scaled to 0..1 in each frame."""
        mean = _on(grid, self.total / self.count)

        # 1e-6 as in DiTCtrl: a frame without contrast is 0 everywhere
        low = mean.amin((1, 2), keepdim=True)
        high = mean.amax((1, 2), keepdim=True)
        return (mean - low) / (high - low + 1e-6)


@dataclass(frozen=True)
class SharedAttention:
    """Attention of one branch to another's keys: `[entry, head, token, channel]`, text first where there is any."""

    inner: Attend
    call: AttentionCall
    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None

    def unmasked(self) -> Tensor:
        """Attention to all keys."""
        return self.inner(self.call, self.q, self.k, self.v, self.mask)

    def masked(self, own_mask: Tensor, source_mask: Tensor, threshold: float | None) -> Tensor:
        """Object cells attend to object cells, the others to the others, by masks `[frame, height, width]` in 0..1.

        Text attends to everything, and every cell attends to the text. Only the keys of each group are gathered, so
        that attention stays fused and no mask of tokens x tokens is stored. A group without keys attends to all.
        """
        words = self.call.text_keys.stop
        entries = len(self.q)
        own_mask = own_mask.reshape(entries, -1)
        source_mask = source_mask.reshape(entries, -1)
        if threshold is None:
            return self._soft(own_mask.to(self.q), source_mask.to(self.q), words)
        own_shows = own_mask >= threshold
        source_shows = source_mask >= threshold

        text = torch.arange(words, device=self.q.device)
        out = self.q.new_empty(*self.q.shape[:3], self.v.shape[-1])
        for entry in range(entries):
            # text queries read every key
            out[entry, :, :words] = self._some(entry, text)

            # cells of the objects, then the others; every group reads the text too
            for shown in (True, False):
                queries = words + _cells(own_shows[entry], shown)
                if not len(queries):
                    continue
                cells = _cells(source_shows[entry], shown)
                keys = torch.cat([text, words + cells])
                readable = keys if len(keys) else ALL
                out[entry, :, queries] = self._some(entry, queries, readable)
        return out

    def _some(self, entry: int, queries: Tensor, keys: Tensor | slice = ALL) -> Tensor:
        """Attention of some queries of one entry to some keys: `[head, query, channel]`."""
        one = slice(entry, entry + 1)
        mask = part_of_mask(self.mask, one, queries, keys)
        q = self.q[one, :, queries]
        k = self.k[one, :, keys]
        v = self.v[one, :, keys]
        out = self.inner(self.call, q, k, v, mask)
        return out[0]

    def _soft(self, own_mask: Tensor, source_mask: Tensor, words: int) -> Tensor:
        """Attention to object cells and to the others, mixed by the mask of the query `[entry, cell]`.

        Keys are weighted by their mask, through its logarithm in the logits.
        """
        # attention to the objects of the source, and to the rest of it; the text has weight 1 in both
        least = torch.finfo(source_mask.dtype).tiny
        outputs = []
        for weight in (source_mask, 1 - source_mask):
            logarithm = weight.clamp(min=least).log()  # of 0 it would be -inf: a row of those alone is NaN
            bias = F.pad(logarithm, (words, 0))
            bias = bias[:, None, None]  # [entry, 1, 1, key]
            if self.mask is not None:
                bias = self.mask + bias
            outputs.append(self.inner(self.call, self.q, self.k, self.v, bias))
        objects, rest = outputs

        # each cell has as much of the first as it shows an object
        fraction = F.pad(own_mask, (words, 0))
        fraction = fraction[:, None, :, None]  # [entry, 1, query, 1]
        out = fraction * objects + (1 - fraction) * rest
        if words:
            # text queries read every key
            text_q = self.q[:, :, :words]
            mask = part_of_mask(self.mask, ALL, slice(words))
            out[:, :, :words] = self.inner(self.call, text_q, self.k, self.v, mask)
        return out


def _cells(mask: Tensor, shown: bool) -> Tensor:
    """Indices of the cells `[cell]` whose mask is `shown`."""
    return (mask == shown).nonzero()[:, 0]


def _on(grid: Sequence[int], x: Tensor) -> Tensor:
    """`[frame, height, width]` on another grid."""
    return resized_in_time(x[None], grid)[0]
