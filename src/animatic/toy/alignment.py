"""Hints of a teacher: a transformer's hidden states learn what a UNet's features say at the same noise.

The output of a teacher says little of how it is found; its inner features say more (Romero et al. 2015, FitNets,
https://arxiv.org/abs/1412.6550; Yu et al. 2025, REPA, https://arxiv.org/abs/2410.06940).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

OBJECT_WEIGHT = 5.0  # as in the error, see `loss.weighted_mse`
LEVEL_WEIGHTS = {"first": 1.0, "middle": 3.0, "last": 1.0}  # the middle one is learnt last


class Alignment(nn.Module):
    """Linear heads from blocks of a transformer to the features of a UNet; the last passes of both are compared.

    The teacher's pass may hold further samples, after those of the student's. The first third of the blocks learns the
    features of the first level, each further third those of a later up block. `width`: channels of the transformer's
    states.
    """

    def __init__(self, student: Any, teacher: Any, width: int) -> None:
        super().__init__()
        self.features: dict[str, Tensor] = {}  # [sample * frame, channel, height, width]
        self.states: dict[str, Tensor] = {}  # [sample, frame * height * width, channel]
        self.heads = nn.ModuleDict()

        # The first level before it is made smaller, and the outputs of the first and the last up block.
        levels = {"first": teacher.down_blocks[0], "middle": teacher.up_blocks[0], "last": teacher.up_blocks[-1]}
        blocks = student.transformer_blocks
        for i, (name, level) in enumerate(levels.items()):
            level.register_forward_hook(self._keep_features(name))
            block = blocks[(2 * i + 1) * len(blocks) // 6]
            block.register_forward_hook(self._keep_states(name))
            self.heads[name] = nn.Linear(width, _channels(level))

    def _keep_features(self, name: str) -> Any:
        def keep(block: nn.Module, inputs: Any, output: Any) -> None:
            # A down block also returns its states before they are made smaller, the last of them last but one.
            self.features[name] = output[1][-2] if isinstance(output, tuple) else output

        return keep

    def _keep_states(self, name: str) -> Any:
        def keep(block: nn.Module, inputs: Any, output: Any) -> None:
            self.states[name] = output[0]

        return keep

    def loss(self, cover: Tensor, cells: tuple[int, int]) -> Tensor:
        """Mean squared difference from the teacher's features, each of mean 0 and variance 1 over its channels.

        Args:
            cover: Coverage by objects in pixels, `[sample, frame, height, width]`, 0..1.
            cells: Rows and columns of the student's tokens.
        """
        # Cells of objects count more.
        weight = 1 + OBJECT_WEIGHT * F.adaptive_avg_pool2d(cover, cells).flatten(1)
        weight = weight / weight.mean()

        total = cover.new_zeros(())
        for name, head in self.heads.items():
            shown = self.features[name][: len(cover) * cover.shape[1]]
            features = F.adaptive_avg_pool2d(shown.float(), cells).movedim(1, -1)
            normed = F.layer_norm(features, features.shape[-1:])
            target = normed.reshape(*weight.shape, -1)
            predicted = head(self.states[name]).float()
            difference = (predicted - target).square().mean(-1)
            total = total + LEVEL_WEIGHTS[name] * (weight * difference).mean()
        return total


def _channels(level: Any) -> int:
    """Channels of the output of a down or up block."""
    last: Any = level.resnets[-1]
    return last.out_channels
