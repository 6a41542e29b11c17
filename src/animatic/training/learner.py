"""Something that can learn: a model of any kind whose call is the loss of one batch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.components import Components
from ..backbones.concat_conditioning import NOISE_INPUT_SCALE, LearnedConditioning
from ..backbones.small_model import SpaceTimeBackbone
from ..core.process import Process
from ..core.types import Branch, Conditioning
from .clips import Sample
from .pictures import without_time


class DiffusionTrainModule(nn.Module):
    """Network and text encoder of `model` as one module: what the optimiser and the processes see."""

    def __init__(self, model: Components, process: Process, rough: float = 0.0, lowest: float = 0.0) -> None:
        super().__init__()
        self.model, self.process, self.rough, self.lowest = model, process, rough, lowest
        self.network: Any = model.unet
        self.text = model.text
        self.told_something = bool(self.network.config.get("cond_dim", 1))
        if not self.told_something:  # processes wait for the gradient of whatever wants one
            self.text.requires_grad_(False)
        self.keep = False
        self.said: dict[str, Tensor] = {}  # what a frozen text encoder made of captions, kept on request

    def forward(self, x: Tensor, samples: Sequence[Sample], images: int, drop: float, alone: float) -> Tensor:
        """Mean loss over the rows and frames of latents `x` `[row, channel, video + images, height, width]`.

        What is drawn (time, noise, captions left out, clips taken as pictures) hangs on each sample's own seed, so that
        it does not matter how samples are dealt out to processes.
        """
        rows = [random.Random(sample.seed) for sample in samples]
        levels = int(self.lowest * self.process.levels), self.process.levels
        t = torch.tensor([r.randrange(*levels) for r in rows], device=x.device)
        e = torch.stack([_noise(r.getrandbits(63), x.shape[1:]) for r in rows]).to(x)
        taken = torch.tensor([r.random() < alone for r in rows], device=x.device)
        if isinstance(self.model.concat_conditioning, LearnedConditioning):
            return self._finish(self.model.concat_conditioning, x, e, t, rows)
        captions = [[c if r.random() >= drop else "" for c in s.captions] for r, s in zip(rows, samples, strict=True)]
        noisy, t_told = self.process.noised(x, e, t), self.process.network_time(t)
        ask = self._joint if isinstance(self.model, SpaceTimeBackbone) else self._apart
        return self.process.error(ask(noisy, t_told, captions, images, taken), x, e, t).mean()

    def _finish(
        self, beside: LearnedConditioning, x: Tensor, e: Tensor, t: Tensor, rows: Sequence[random.Random]
    ) -> Tensor:
        """What is learnt is what the first guess lacks; `rough` noises what is given, so that flaws of it are borne."""
        given = beside.degrade(x)
        spread = torch.tensor([self.rough * r.random() for r in rows]).view(-1, 1, 1, 1, 1).to(x)
        given = given + spread * torch.stack([_noise(r.getrandbits(63), given.shape[1:]) for r in rows]).to(x)
        guess, told = beside.condition(given)
        missing = (x - guess) / beside.residual_std
        noisy = self.process.noised(missing, e, t)
        return self.process.error(
            self.network(torch.cat([NOISE_INPUT_SCALE * noisy, told], 1), t), missing, e, t
        ).mean()

    def _text(self, captions: Sequence[str]) -> Tensor:
        if not self.keep or any(p.requires_grad for p in self.text.parameters()):
            return self.text(captions)
        for caption in dict.fromkeys(c for c in captions if c not in self.said):
            self.said[caption] = self.text([caption])[0]
        return torch.stack([self.said[c] for c in captions])

    def _joint(self, x: Tensor, t: Tensor, captions: list[list[str]], images: int, taken: Tensor) -> Tensor:
        """One call: pictures behind each clip, their own captions, every layer over time told where they begin."""
        spread = torch.tensor([x.shape[2] - images, *[1] * images], device=x.device)
        null = torch.tensor([[not c for c in row] for row in captions], device=x.device).repeat_interleave(spread, 1)
        text = None
        if self.told_something:
            said = self._text([c for row in captions for c in row])
            text = said[:, 0].unflatten(0, (len(x), -1)).repeat_interleave(spread, 1)
        return self.network(x, t, text, null, focus_present=taken, images=images)

    def _apart(self, x: Tensor, t: Tensor, captions: list[list[str]], images: int, taken: Tensor) -> Tensor:
        """Networks that know no pictures: clips in one call; pictures in another, one frame a row, time left out."""
        video = x.shape[2] - images
        out = torch.zeros_like(x)
        clips = (~taken).nonzero()[:, 0]
        if len(clips) and video > 1:
            answers = self._ask(x[clips, :, :video], t[clips], [captions[i][0] for i in clips.tolist()])
            out = out.index_put((clips,), F.pad(answers, (0, 0, 0, 0, 0, images)))  # to be written over
        loose = [(i, f) for i in range(len(x)) for f in range(x.shape[2]) if f >= video or taken[i] or video == 1]
        if loose:
            row, frame = torch.tensor(loose, device=x.device).T
            with without_time(self.network):
                told = [captions[i][max(0, f - video + 1)] for i, f in loose]
                answers = self._ask(x[row, :, frame][:, :, None], t[row], told)
            out = out.movedim(2, 1).index_put((row, frame), answers[:, :, 0]).movedim(1, 2)
        return out

    def _ask(self, x: Tensor, t: Tensor, captions: Sequence[str]) -> Tensor:
        return self.model.predict(
            x, t, Conditioning(self._text(captions), tuple(Branch(sample=i) for i in range(len(x))))
        )


def _noise(seed: int, shape: Sequence[int]) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed % 2**63))
