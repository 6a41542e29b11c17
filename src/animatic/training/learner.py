"""Something that can learn: a network of any kind, its text encoder, its codec, and the loss of one batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn

from ..backbones.base import Geometry
from ..backbones.beside import QUIET, Learnt
from ..backbones.cogvideox import turns
from ..backbones.unet3d import coordinates
from .clips import Sample
from .diffusion import Process
from .pictures import without_time


Ask = Callable[[Any, Tensor, Tensor, Tensor | None, Tensor], Tensor]
"""(network, x `[row, channel, frame, height, width]`, t `[row]`, token states `[row, token, channel]`, who is told
nothing `[row]`) -> the network's answer."""


@dataclass(frozen=True)
class Kind:
    """How a class of networks is asked, and what of its config must be known."""

    ask: Ask
    text_width: str  # the field that says how wide its text is
    multiple: Callable[[Any], int]  # height and width of its latents are multiples of this


def _small(network: Any, x: Tensor, t: Tensor, text: Tensor | None, null: Tensor) -> Tensor:
    return network(x, t, None if text is None else text[:, 0], null)


def _unet3d(network: Any, x: Tensor, t: Tensor, text: Tensor | None, null: Tensor) -> Tensor:
    seen = torch.cat([x, coordinates(x)], 1) if network.config.in_channels == x.shape[1] + 3 else x
    return network(seen, t, encoder_hidden_states=text).sample


def _cogvideox(network: Any, x: Tensor, t: Tensor, text: Tensor | None, null: Tensor) -> Tensor:
    frames_first = x.movedim(2, 1)
    where = turns(network.config, frames_first)
    return network(frames_first, text, t, image_rotary_emb=where).sample.movedim(1, 2)


def _wan(network: Any, x: Tensor, t: Tensor, text: Tensor | None, null: Tensor) -> Tensor:
    return network(x, t, text).sample


KINDS = {
    "SpaceTimeUNet": Kind(_small, "cond_dim", lambda config: 2 ** (len(config.multiples) - 1)),
    "UNet3DConditionModel": Kind(
        _unet3d, "cross_attention_dim", lambda config: 2 ** (len(config.block_out_channels) - 1)
    ),
    "CogVideoXTransformer3DModel": Kind(_cogvideox, "text_embed_dim", lambda config: config.patch_size),
    "WanTransformer3DModel": Kind(_wan, "text_dim", lambda config: config.patch_size[-1]),
}


class Learner(nn.Module):
    """Network and text encoder as one module: what the optimiser and the processes see."""

    def __init__(
        self,
        network: Any,
        text: nn.Module,
        process: Process,
        geometry: Geometry,
        words: Any = (),
        beside: Learnt | None = None,
        rough: float = 0.0,
        lowest: float = 0.0,
    ) -> None:
        super().__init__()
        self.beside, self.rough, self.lowest = beside, rough, lowest
        self.network, self.text = network, text
        self.process, self.geometry, self.words = process, geometry, tuple(words)
        self.kind = type(network).__name__
        if not self.told_something:  # processes wait for the gradient of whatever wants one
            text.requires_grad_(False)
        self.keep = False
        self.said: dict[str, Tensor] = {}  # what a frozen text encoder made of captions, kept on request

    @property
    def told_something(self) -> bool:
        return bool(self.network.config[KINDS[self.kind].text_width])

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
        if self.beside is not None:
            return self._finish(self.beside, x, e, t, rows)
        captions = [[c if r.random() >= drop else "" for c in s.captions] for r, s in zip(rows, samples, strict=True)]
        noisy, t_told = self.process.noised(x, e, t), self.process.told(t)
        ask = self._joint if self.kind == "SpaceTimeUNet" else self._apart
        return self.process.error(ask(noisy, t_told, captions, images, taken), x, e, t).mean()

    def _finish(self, beside: Learnt, x: Tensor, e: Tensor, t: Tensor, rows: Sequence[random.Random]) -> Tensor:
        """What is learnt is what the first guess lacks; `rough` noises what is given, so that flaws of it are borne."""
        given = beside.reduce(x)
        spread = torch.tensor([self.rough * r.random() for r in rows]).view(-1, 1, 1, 1, 1).to(x)
        given = given + spread * torch.stack([_noise(r.getrandbits(63), given.shape[1:]) for r in rows]).to(x)
        guess, told = beside.tell(given)
        missing = x - guess
        noisy = self.process.noised(missing, e, t)
        return self.process.error(self.network(torch.cat([QUIET * noisy, told], 1), t), missing, e, t).mean()

    def told(self, captions: Sequence[str]) -> tuple[Tensor | None, Tensor]:
        """Token states `[row, token, channel]` if any are read, and which rows are told nothing."""
        null = torch.tensor([not c for c in captions], device=next(self.network.parameters()).device)
        return self._text(captions) if self.told_something else None, null

    def _text(self, captions: Sequence[str]) -> Tensor:
        if not self.keep or any(p.requires_grad for p in self.text.parameters()):
            return self.text(captions)
        for caption in dict.fromkeys(c for c in captions if c not in self.said):
            self.said[caption] = self.text([caption])[0]
        return torch.stack([self.said[c] for c in captions])

    def _joint(self, x: Tensor, t: Tensor, captions: list[list[str]], images: int, taken: Tensor) -> Tensor:
        """One call: pictures behind each clip, their own captions, every layer over time told where they begin."""
        spread = torch.tensor([x.shape[2] - images, *[1] * images], device=x.device)
        text, null = self.told([c for row in captions for c in row])
        null = null.unflatten(0, (len(x), -1)).repeat_interleave(spread, 1)
        if text is not None:
            text = text[:, 0].unflatten(0, (len(x), -1)).repeat_interleave(spread, 1)
        return self.network(x, t, text, null, alone=taken, images=images)

    def _apart(self, x: Tensor, t: Tensor, captions: list[list[str]], images: int, taken: Tensor) -> Tensor:
        """Networks that know no pictures: clips in one call; pictures in another, one frame a row, time left out."""
        ask, video = KINDS[self.kind].ask, x.shape[2] - images
        out = torch.zeros_like(x)
        clips = (~taken).nonzero()[:, 0]
        if len(clips) and video > 1:
            told = self.told([captions[i][0] for i in clips.tolist()])
            answers = ask(self.network, x[clips, :, :video], t[clips], *told)
            out = out.index_put((clips,), F.pad(answers, (0, 0, 0, 0, 0, images)))  # to be written over
        loose = [(i, f) for i in range(len(x)) for f in range(x.shape[2]) if f >= video or taken[i] or video == 1]
        if loose:
            row, frame = torch.tensor(loose, device=x.device).T
            told = self.told([captions[i][max(0, f - video + 1)] for i, f in loose])
            with without_time(self.network):
                answers = ask(self.network, x[row, :, frame][:, :, None], t[row], *told)
            out = out.movedim(2, 1).index_put((row, frame), answers[:, :, 0]).movedim(1, 2)
        return out


def _noise(seed: int, shape: Sequence[int]) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed % 2**63))


@torch.no_grad()
def latents(codec: Any, frames: Tensor) -> Tensor:
    """uint8 `[row, frame, height, width, 3]` to clean latents `[row, channel, frame, h, w]`, a picture at a time."""
    pixels = frames.flatten(0, 1).movedim(-1, 1).float() / 127.5 - 1
    encoded = codec.encode(pixels)
    x = encoded.latent_dist.mode() if isinstance(encoded, AutoencoderKLOutput) else encoded.latents
    return (x * codec.config.scaling_factor).unflatten(0, frames.shape[:2]).movedim(1, 2)
