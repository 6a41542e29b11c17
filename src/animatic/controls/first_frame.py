"""The first frame of a video that is given: at the end it is put back as it was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.control import Control
from ..core.types import Conditioning, Denoise, Step


@dataclass(frozen=True)
class FirstFrame(Control):
    """The first latent frame is `latents` `[1, channel, 1, height, width]`, clean at the end of the run.

    At other noise levels the network is shown it in place of the sample's (Wan 2.2 5B), so that what the solver makes
    of the sample's own does not matter.
    """

    latents: Tensor

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if not step.clean:
            return x
        given = self.latents.to(x).expand(len(x), *self.latents.shape[1:])
        return torch.cat([given, x[:, :, 1:]], 2)
