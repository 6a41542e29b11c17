"""What a computation costs, without computing it: operations, and the most memory that its tensors take at once.

Tensors are on torch's meta device. Attention is counted as a fused kernel, which never stores the matrix of queries x
keys; convolutions on a CPU as oneDNN computes them, with copies of input, weight and output beside the output. That is
what the hungriest processors take (with AVX-512); others make the output when the copy of the input is gone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from .attention import fused_attention
from .types import Attend, AttentionCall

BACKWARD = 2.5  # operations of fused attention's backward pass, relative to its forward pass (FlashAttention 2)
CONVOLUTIONS = ("convolution", "convolution_backward")


@dataclass(frozen=True)
class Cost:
    """Operations (two a multiplication with addition), and the most bytes at once besides weights and inputs."""

    flops: int = 0
    memory: int = 0


def counted(run: Callable[[Attend], object], weights: Iterable[nn.Module], cpu: bool = False) -> Cost:
    """The cost of `run(attend)`, which computes on the meta device; the tensors of `weights` are not part of it.

    `attend` is for networks with attention hooks. `cpu`: whether the device is one.
    """
    counter = _Counter(weights, cpu)

    # Backward puts the mode aside, where checkpointed layers run again: this brings it with it.
    def attend(call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        with _FusedAttention(counter):
            return fused_attention(call, q, k, v, mask)

    with _FusedAttention(counter), counter:
        run(attend)
    return Cost(counter.flops, counter.peak)


class _Counter(TorchDispatchMode):
    """Sees every operation: adds its FLOPs, and follows the storages that are alive."""

    def __init__(self, weights: Iterable[nn.Module], cpu: bool) -> None:
        super().__init__()
        self.cpu = cpu
        self.flops = 0
        self.live = 0
        self.peak = 0
        self.known: set[int] = set()
        for module in weights:
            for tensor in (*module.parameters(), *module.buffers()):
                self.known.add(tensor.untyped_storage()._cdata)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=out)

        # Tensors that this operation made, and what it needs while it runs.
        tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        for tensor in tensors:
            self._add(tensor)
        scratch = 0
        if self.cpu and packet.__name__ in CONVOLUTIONS:
            given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
            scratch = sum(tensor.nbytes for tensor in (*given, *tensors))
        self.peak = max(self.peak, self.live + scratch)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.known:  # a view, or the result of an operation in place
            return
        size = storage.nbytes()
        self.known.add(key)
        self.live += size
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


class _FusedAttention(TorchFunctionMode):
    """Attention as a fused kernel: on the meta device torch would decompose it, and store the whole matrix."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        q, k, v = args[:3]
        if kwargs.get("enable_gqa"):
            return func(*args, **kwargs)
        return _Fused.apply(q, k, v, self.counter)


class _Fused(torch.autograd.Function):
    """The shapes of fused attention: its output, and what its backward pass keeps."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, counter: _Counter) -> Tensor:
        out = q.new_empty((*q.shape[:-1], v.shape[-1]))
        logsumexp = q.new_empty(q.shape[:-1], dtype=torch.float32)
        pairs = q.shape[:-1].numel() * k.shape[-2]
        flops = 2 * pairs * (q.shape[-1] + v.shape[-1])
        counter.flops += flops
        ctx.save_for_backward(q, k, v, out, logsumexp)
        ctx.counter = counter
        ctx.flops = flops
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        q, k, v, *_ = ctx.saved_tensors
        ctx.counter.flops += int(BACKWARD * ctx.flops)
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), None
