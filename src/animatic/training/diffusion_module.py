"""The module that is trained: it maps a batch of clean latents and captions to the diffusion loss."""

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
from .temporal_layers import without_temporal_layers


class DiffusionTrainModule(nn.Module):
    """The network and the text encoder of `model` as one module, as the optimiser and accelerate need it.

    Args:
        model: The model to train; its network and its text encoder are submodules of this one.
        process: Noise schedule, prediction target and loss.
        noise_augmentation: Largest standard deviation of the noise on the conditioning clip of a model that
            interpolates or upscales (Ho et al. 2022, arXiv 2106.15282).
        min_noise: Smallest noise level that is trained, as a fraction of all levels.
    """

    def __init__(
        self, model: Components, process: Process, noise_augmentation: float = 0.0, min_noise: float = 0.0
    ) -> None:
        super().__init__()
        self.model = model
        self.process = process
        self.noise_augmentation = noise_augmentation
        self.min_noise = min_noise
        self.network: Any = model.unet
        self.text = model.text

        # Distributed training waits for the gradient of every parameter that requires one.
        self.reads_text = bool(self.network.config.get("cond_dim", 1))
        if not self.reads_text:
            self.text.requires_grad_(False)

        self.caches_text = False  # whether embeddings of a frozen text encoder are kept
        self.text_cache: dict[str, Tensor] = {}

    def forward(
        self, x: Tensor, samples: Sequence[Sample], images: int, cfg_dropout: float, focus_present: float
    ) -> Tensor:
        """The mean loss of a batch, a scalar.

        Noise level, noise, dropped captions and the choice of clips that are trained frame by frame are drawn from the
        seed of each sample, so that they do not depend on how samples are distributed to processes.

        Args:
            x: Clean latents `[sample, channel, frame, height, width]`, the frames of the video before the pictures.
            samples: The samples of the batch, with their captions.
            images: Number of pictures behind each video.
            cfg_dropout: Probability that a caption is replaced by "" (classifier-free guidance, arXiv 2207.12598).
            focus_present: Probability that the frames of a clip cannot attend to each other.
        """
        # What is drawn for each sample. The order of the draws is part of a run: keep it.
        generators = [random.Random(sample.seed) for sample in samples]
        first_level = int(self.min_noise * self.process.levels)
        levels = [rng.randrange(first_level, self.process.levels) for rng in generators]
        noises = [_noise(rng.getrandbits(63), x.shape[1:]) for rng in generators]
        are_single = [rng.random() < focus_present for rng in generators]
        t = torch.tensor(levels, device=x.device)
        e = torch.stack(noises).to(x)
        frame_by_frame = torch.tensor(are_single, device=x.device)

        # Models that interpolate or upscale read no captions.
        conditioning = self.model.concat_conditioning
        if isinstance(conditioning, LearnedConditioning):
            return self._residual_loss(conditioning, x, e, t, generators)

        # A dropped caption trains the unconditional branch.
        captions = []
        for rng, sample in zip(generators, samples, strict=True):
            kept = [caption if rng.random() >= cfg_dropout else "" for caption in sample.captions]
            captions.append(kept)

        # Prediction and loss.
        noisy = self.process.add_noise(x, e, t)
        timestep = self.process.network_timestep(t)
        predict = self._predict_jointly if isinstance(self.model, SpaceTimeBackbone) else self._predict_separately
        prediction = predict(noisy, timestep, captions, images, frame_by_frame)
        return self.process.error(prediction, x, e, t).mean()

    def _residual_loss(
        self,
        conditioning: LearnedConditioning,
        x: Tensor,
        e: Tensor,
        t: Tensor,
        generators: Sequence[random.Random],
    ) -> Tensor:
        """The loss of a model that interpolates or upscales: it learns the residual of a classical prior.

        The given clip is noised by a random amount up to `noise_augmentation`, so that the model tolerates the
        artefacts of generated clips.
        """
        # The given clip, with noise of its own.
        given = conditioning.degrade(x)
        sigmas = [self.noise_augmentation * rng.random() for rng in generators]
        noises = [_noise(rng.getrandbits(63), given.shape[1:]) for rng in generators]
        sigma = torch.tensor(sigmas).to(x)
        sigma = sigma.view(-1, 1, 1, 1, 1)
        given = given + sigma * torch.stack(noises).to(x)

        # The network predicts the difference to the prior, in units of its standard deviation.
        prior, concatenated = conditioning.condition(given)
        residual = (x - prior) / conditioning.residual_std
        noisy = self.process.add_noise(residual, e, t)
        inputs = torch.cat([NOISE_INPUT_SCALE * noisy, concatenated], 1)
        prediction = self.network(inputs, t)
        return self.process.error(prediction, residual, e, t).mean()

    def _encode(self, captions: Sequence[str]) -> Tensor:
        """Embeddings `[caption, token, channel]`; those of a frozen encoder are cached on request."""
        is_frozen = not any(p.requires_grad for p in self.text.parameters())
        if not (self.caches_text and is_frozen):
            return self.text(captions)

        # One by one, so that an embedding does not depend on the batch it was computed in.
        for caption in dict.fromkeys(captions):
            if caption not in self.text_cache:
                self.text_cache[caption] = self.text([caption])[0]
        return torch.stack([self.text_cache[caption] for caption in captions])

    def _predict_jointly(
        self, x: Tensor, t: Tensor, captions: list[list[str]], images: int, frame_by_frame: Tensor
    ) -> Tensor:
        """The prediction for videos and pictures in one call, for networks that know where the pictures begin."""
        # One caption for all frames of the video, and one for each picture.
        video_frames = x.shape[2] - images
        frames_per_caption = torch.tensor([video_frames, *[1] * images], device=x.device)
        are_empty = [[not caption for caption in row] for row in captions]
        is_empty = torch.tensor(are_empty, device=x.device)
        null = is_empty.repeat_interleave(frames_per_caption, 1)

        # One vector for each frame, [sample, frame, channel].
        conditioning = None
        if self.reads_text:
            every_caption = [caption for row in captions for caption in row]
            embeddings = self._encode(every_caption)[:, 0]
            by_sample = embeddings.unflatten(0, (len(x), -1))
            conditioning = by_sample.repeat_interleave(frames_per_caption, 1)
        return self.network(x, t, conditioning, null, frame_by_frame, images)

    def _predict_separately(
        self, x: Tensor, t: Tensor, captions: list[list[str]], images: int, frame_by_frame: Tensor
    ) -> Tensor:
        """The prediction for networks without pictures: videos in one call, single frames in another.

        Single frames are pictures, videos of one frame, and the frames of clips that are trained frame by frame. They
        go through the network without its temporal layers.
        """
        # Filled in by two calls; index_put keeps the gradient, which assignment in place would lose.
        video_frames = x.shape[2] - images
        prediction = torch.zeros_like(x)

        # Videos; the padding for their pictures is overwritten below.
        videos = (~frame_by_frame).nonzero()[:, 0]
        if len(videos) and video_frames > 1:
            video_captions = [captions[i][0] for i in videos.tolist()]
            clips = x[videos, :, :video_frames]
            answers = self._predict(clips, t[videos], video_captions)
            padded = F.pad(answers, (0, 0, 0, 0, 0, images))
            prediction = prediction.index_put((videos,), padded)

        # Single frames as (sample, frame).
        single: list[tuple[int, int]] = []
        for i in range(len(x)):
            is_single = bool(frame_by_frame[i]) or video_frames == 1
            first = 0 if is_single else video_frames
            single += [(i, f) for f in range(first, x.shape[2])]

        # They are a batch of videos of one frame.
        if single:
            sample, frame = torch.tensor(single, device=x.device).T
            frame_captions = []
            for i, f in single:
                picture = max(0, f - video_frames + 1)  # 0: a frame of the video
                frame_captions.append(captions[i][picture])
            frames = x[sample, :, frame][:, :, None]
            with without_temporal_layers(self.network):
                answers = self._predict(frames, t[sample], frame_captions)
            by_frame = prediction.movedim(2, 1)
            by_frame = by_frame.index_put((sample, frame), answers[:, :, 0])
            prediction = by_frame.movedim(1, 2)
        return prediction

    def _predict(self, x: Tensor, t: Tensor, captions: Sequence[str]) -> Tensor:
        branches = tuple(Branch(sample=i) for i in range(len(x)))
        conditioning = Conditioning(self._encode(captions), branches)
        return self.model.predict(x, t, conditioning)


def _noise(seed: int, shape: Sequence[int]) -> Tensor:
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.randn(*shape, generator=generator)
