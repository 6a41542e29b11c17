"""Muon, an optimiser of matrices, for weights of any shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class FlatMuon(torch.optim.Muon):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) of matrices and convolutions.

    A convolution is updated as the matrix `[output, input x kernel]`. Updates are scaled to those of AdamW (Liu et al.
    2025, arXiv 2502.16982), so that both take the same learning rate.

    Args:
        weights: Contiguous parameters of two or more dimensions.
    """

    def __init__(self, weights: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        self.weights = list(weights)
        matrices = [nn.Parameter(weight.detach().view(len(weight), -1)) for weight in self.weights]
        super().__init__(matrices, learning_rate, weight_decay, adjust_lr_fn="match_rms_adamw")
        self.matrices = matrices

    def step(self, closure: Any = None) -> Any:
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            # A weight gets other memory where it moves to a device, or is shared by processes.
            if matrix.data_ptr() != weight.data_ptr():
                matrix.data = weight.detach().view(matrix.shape)
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for weight in self.weights:
            weight.grad = None
