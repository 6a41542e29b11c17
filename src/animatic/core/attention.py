"""Reading attention: how much chosen words are looked at, asked of one layer or of a whole call; no answer changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor

from .types import Attend, AttentionCall, AttentionMapRequest, Conditioning, Denoise, Step

TEXT_KINDS = ("cross", "joint")  # the kinds of layers that look at text
ALL = slice(None)
Part = slice | Tensor  # of an axis


def matches_any(name: str, globs: Sequence[str]) -> bool:
    """Whether a layer is one of those that `globs` name."""
    return any(fnmatchcase(name, glob) for glob in globs)


def one_hot(tokens: Tensor, keys: int) -> Tensor:
    """Columns `[row, key, wanted]`: column j is 1 at the row's j-th wanted token `[row, wanted]`. Text is first."""
    columns = torch.zeros(len(tokens), keys, tokens.shape[1], device=tokens.device)
    return columns.scatter_(1, tokens[:, None], 1.0)


def attention_with_columns(
    attend: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention, and how much of it falls on `columns` `[row, key, wanted]`: `[batch, head, query, wanted]`.

    They come out of fused attention as further columns of V: exact, differentiable, and no map is made.
    """
    columns = columns.to(v.dtype).repeat_interleave(len(q) // len(columns), 0)[:, None].expand(-1, q.shape[1], -1, -1)
    out = attend(site, q, k, torch.cat([v, columns], -1), mask)
    return out[..., : v.shape[-1]], out[..., v.shape[-1] :]


def branch_by_branch(
    attend: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> Tensor:
    """`attend` for each row of a joint layer alone: columns on long sequences are copies of them."""
    each = [slice(i, i + 1) for i in range(len(q))]
    return torch.cat(
        [attend(site.of_branch(i), q[at], k[at], v[at], part_of_mask(mask, at)) for i, at in enumerate(each)]
    )


def part_of_mask(mask: Tensor | None, batch: slice, queries: Part = ALL, keys: Part = ALL) -> Tensor | None:
    """Of a mask `[batch, head, query, key]`, in which a size of 1 stands for all."""
    if mask is None:
        return None
    mask = mask[batch] if len(mask) > 1 else mask
    mask = mask[:, :, queries] if mask.shape[2] > 1 else mask
    return mask[..., keys]


def predict_with_maps(
    inner: Denoise, x: Tensor, step: Step, cond: Conditioning, tokens: Tensor, sites: Sequence[str], mean: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """The answer, and where `tokens` `[stream, wanted]` were looked at in the positive rows (see `Maps`), by layer."""
    maps = AttentionMapRequest(tokens[cond.samples], tuple(sites), mean_over_heads=mean)
    answer = inner(x, step, replace(cond, map_request=maps))
    # positive rows stand last, whether or not the negative ones were asked
    return answer, {name: p[-len(tokens) :].float() for name, p in maps.found.items()}


def mean_map(found: Mapping[str, Tensor]) -> Tensor:
    """Mean over layers and heads, on the grid of the largest: `[row, frame, wanted, height, width]`."""
    means = [p.float().mean(2).movedim(-1, 2) for p in found.values()]
    size = max((m.shape[-2:] for m in means), key=lambda s: s[0] * s[1])
    return torch.stack([resized(m, size) for m in means]).mean(0)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """`[..., height, width]` on another grid."""
    if x.shape[-2:] == tuple(size):
        return x
    flat = F.interpolate(x.flatten(0, -4), tuple(size), mode="bilinear", align_corners=False)
    return flat.view(*x.shape[:-2], *size)


def resized_in_time(x: Tensor, grid: Sequence[int]) -> Tensor:
    """`[row, frame, height, width]` on another grid, frames too."""
    if x.shape[1:] == tuple(grid):
        return x
    return F.interpolate(x[:, None], tuple(grid), mode="trilinear", align_corners=False)[:, 0]


def fused_attention(site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Fused attention over `[batch, head, token, width]`; extra columns of `v` ride along at no other cost."""
    width, wanted = q.shape[-1], v.shape[-1]
    if width != wanted:  # fused kernels want one width and are quickest in eights; zeros change no product
        widest = -(-max(width, wanted) // 8) * 8
        q, k, v = (F.pad(part, (0, widest - part.shape[-1])) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=width**-0.5)[..., :wanted]
