"""Reading attention: the probabilities of chosen keys, from one layer or a whole evaluation, at unchanged output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor

from .arithmetic import ceil_div
from .types import Attend, AttentionCall, AttentionMapRequest, Conditioning, Denoise, Step

TEXT_KINDS = ("cross", "joint")  # the kinds of layers that attend to text
ALL = slice(None)
Part = slice | Tensor  # of an axis
KERNEL_WIDTH = 8  # fused kernels are fastest where the channels of a head are a multiple of this


def matches_any(name: str, globs: Sequence[str]) -> bool:
    """Whether a layer's name matches one of `globs`."""
    return any(fnmatchcase(name, glob) for glob in globs)


def one_hot(tokens: Tensor, keys: int) -> Tensor:
    """Columns `[branch, key, token]` of `tokens` `[branch, token]`: column j is 1 at the position of token j."""
    columns = torch.zeros(len(tokens), keys, tokens.shape[1], device=tokens.device)
    return columns.scatter_(1, tokens[:, None], 1.0)


def attention_with_columns(
    attend: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention's output, and its probabilities summed by `columns` `[branch, key, n]`: `[batch, head, query, n]`.

    softmax(q k^T) columns is computed by fused attention as further channels of V: it is exact and differentiable, and
    the matrix of queries x keys is never stored.
    """
    entries = len(q) // len(columns)
    heads = q.shape[1]

    # the same for every head: [batch, head, key, n]
    columns = columns.to(v.dtype).repeat_interleave(entries, 0)
    by_head = columns[:, None].expand(-1, heads, -1, -1)
    widened = torch.cat([v, by_head], -1)

    out = attend(call, q, k, widened, mask)
    width = v.shape[-1]
    return out[..., :width], out[..., width:]


def branch_by_branch(
    attend: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> Tensor:
    """`attend` for each branch of a joint layer in turn: appending columns copies V, which is long in these layers."""
    outputs = []
    for i in range(len(q)):
        one = slice(i, i + 1)
        own_call = call.of_branch(i)
        own_mask = part_of_mask(mask, one)
        outputs.append(attend(own_call, q[one], k[one], v[one], own_mask))
    return torch.cat(outputs)


def part_of_mask(mask: Tensor | None, batch: slice, queries: Part = ALL, keys: Part = ALL) -> Tensor | None:
    """Part of a mask `[batch, head, query, key]` whose batch and query axes may have length 1 (broadcast)."""
    if mask is None:
        return None

    # an axis of length 1 holds for all, and stays
    if len(mask) > 1:
        mask = mask[batch]
    if mask.shape[2] > 1:
        mask = mask[:, :, queries]
    return mask[..., keys]


def predict_with_maps(
    inner: Denoise, x: Tensor, step: Step, cond: Conditioning, tokens: Tensor, layers: Sequence[str], mean: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """The prediction, and the attention maps of `tokens` `[sample, token]` in the conditional branches, by layer.

    Maps are `[branch, frame, head, height, width, token]` (see `AttentionMapRequest`); `mean`: averaged over heads.
    """
    of_branches = tokens[cond.samples]
    request = AttentionMapRequest(of_branches, tuple(layers), mean_over_heads=mean)
    asking = replace(cond, map_request=request)
    prediction = inner(x, step, asking)

    # conditional branches come last, whether or not the unconditional ones were evaluated
    count = len(tokens)
    found = {name: maps[-count:].float() for name, maps in request.found.items()}
    return prediction, found


def mean_map(found: Mapping[str, Tensor]) -> Tensor:
    """Mean over layers and heads, on the grid of the largest layer: `[branch, frame, token, height, width]`."""
    means = []
    for maps in found.values():
        over_heads = maps.float().mean(2)
        means.append(over_heads.movedim(-1, 2))

    # the largest grid, so that no layer loses detail
    sizes = [mean.shape[-2:] for mean in means]
    largest = max(sizes, key=lambda size: size[0] * size[1])
    on_grid = [resized(mean, largest) for mean in means]
    return torch.stack(on_grid).mean(0)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """`[..., height, width]` interpolated bilinearly to another grid."""
    if x.shape[-2:] == tuple(size):
        return x

    # bilinear interpolation takes four axes
    images = x.flatten(0, -4)
    resized_images = F.interpolate(images, tuple(size), mode="bilinear", align_corners=False)
    return resized_images.view(*x.shape[:-2], *size)


def resized_in_time(x: Tensor, grid: Sequence[int]) -> Tensor:
    """`[batch, frame, height, width]` interpolated trilinearly to the grid (frames, height, width)."""
    if x.shape[1:] == tuple(grid):
        return x

    # a clip of one channel: trilinear interpolation takes five axes
    clips = x[:, None]
    on_grid = F.interpolate(clips, tuple(grid), mode="trilinear", align_corners=False)
    return on_grid[:, 0]


def fused_attention(call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention over `[batch, head, token, channel]`; `v` may have more channels than `q` and `k`.

    Logits are scaled by the width of `q`. `call` is not used: this is the innermost `attend`.
    """
    qk_width = q.shape[-1]
    v_width = v.shape[-1]
    if k.shape[2] == 1 and mask is None:
        return _attention_to_one_key(q, k, v)
    if qk_width != v_width:
        # fused kernels require one width; channels of zeros change neither logits nor the kept outputs
        wider = max(qk_width, v_width)
        widest = ceil_div(wider, KERNEL_WIDTH) * KERNEL_WIDTH
        q, k, v = (F.pad(part, (0, widest - part.shape[-1])) for part in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=qk_width**-0.5)
    return out[..., :v_width]


def _attention_to_one_key(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`fused_attention` where there is one key, as in temporal layers on a single frame: no kernel is quick at that."""
    # the softmax of one logit is 1, and its gradient 0: queries and keys get gradients as from the kernels
    logits = (q * k).sum(-1, keepdim=True) * q.shape[-1] ** -0.5
    return logits.softmax(-1) * v
