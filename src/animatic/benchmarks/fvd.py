"""Fréchet video distance (FVD, arXiv 1812.01717) of a run to real videos, computed by torchmetrics."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import AnimaticError, warn
from ..video import Video
from .jobs import DONE
from .open_vocabulary import loaded
from .run_store import Run

KINDS = (".mp4", ".m4v", ".gif", ".webp", ".webm", ".avi", ".mov", ".mkv", ".ts", ".mpg", ".wmv", ".flv")


class Features(nn.Module, ABC):
    """A video of uint8 `[1, frame, 3, height, width]` to one vector: what `Distance` compares."""

    num_features: int

    @abstractmethod
    def forward(self, videos: Tensor) -> Tensor: ...


class I3D(Features):
    """The Kinetics-400 I3D in TorchScript that FVD is usually reported with (StyleGAN-V, Skorokhodov et al. 2022)."""

    num_features = 400

    def __init__(self, file: str) -> None:
        super().__init__()

        # TorchScript is code: only a file that the user names is loaded.
        try:
            self.net = torch.jit.load(file).eval()
        except (RuntimeError, ValueError) as error:
            raise AnimaticError(f"{file}: is no TorchScript ({str(error).splitlines()[0]})") from None

    @torch.no_grad()
    def forward(self, videos: Tensor) -> Tensor:
        # The released network scales and resizes by itself.
        return self.net(videos.transpose(1, 2).float(), rescale=True, resize=True, return_features=True)


class VideoMAE(Features):
    """VideoMAE's mean feature, less biased towards single frames (content-debiased FVD, arXiv 2404.12391)."""

    def __init__(self, weights: str) -> None:
        from transformers import VideoMAEImageProcessorPil, VideoMAEModel

        # The processor without torchvision, which is not a dependency.
        super().__init__()
        self.net, self.processor = loaded(VideoMAEModel, weights, VideoMAEImageProcessorPil)
        self.num_features = self.net.config.hidden_size

    @torch.no_grad()
    def forward(self, videos: Tensor) -> Tensor:
        config = self.net.config

        # As many frames as the network reads, evenly spaced.
        last = videos.shape[1] - 1
        evenly = np.linspace(0, last, config.num_frames).round()
        frames = torch.from_numpy(evenly).long()
        chosen = videos[0, frames].permute(0, 2, 3, 1)
        clip = chosen.cpu().numpy()

        # The processor normalises; its size is not always the network's.
        processed = self.processor(list(clip), return_tensors="np")["pixel_values"]
        pixels = torch.as_tensor(np.asarray(processed)).flatten(0, -4)
        size = (config.image_size, config.image_size)
        resized = F.interpolate(pixels, size, mode="bilinear")[None]
        states = self.net(resized.to(self.net.device)).last_hidden_state
        return states.mean(1)


def _whole(file: Path) -> Video:
    """A video to compare with; what of it could not be read is warned of."""
    video = Video.load(file)
    if damage := video.info.get("damage"):
        warn(f"damaged: {damage}")
    return video


class FrechetVideoDistance:
    """FVD by features of an I3D file (.pt) or a VideoMAE folder or hub id."""

    def __init__(self, features: str) -> None:
        if not features:
            raise AnimaticError("--fvd needs --fvd-features: an I3D TorchScript file (.pt), or a VideoMAE folder or id")
        if features.endswith(".pt") and not os.path.isfile(features):
            raise AnimaticError(f"{features}: weights are not on this machine")
        self.features = I3D(features) if features.endswith(".pt") else VideoMAE(features)

    def of_run(self, run: Run, real: str) -> dict[str, float]:
        """`mean` is the distance of a run's videos to those in the folder `real`; `n` and `real` are their numbers."""
        # Stills have no motion to compare, and a covariance needs two samples.
        found = Path(real).glob("**/*")
        files = sorted(path for path in found if path.suffix.lower() in KINDS)
        jobs = [job for job in run.jobs() if job.state == DONE and job.frames > 1]
        if len(files) < 2 or len(jobs) < 2:
            raise AnimaticError(f"FVD: {len(jobs)} videos against {len(files)} in {real}; want at least 2 of each")

        generated = (run.video(job) for job in jobs)
        distance = self(generated, map(_whole, files))
        return {"mean": distance, "n": len(jobs), "real": len(files)}

    def __call__(self, ours: Iterable[Video], real: Iterable[Video]) -> float:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
        except ImportError:
            raise AnimaticError("FVD needs torchmetrics; install animatic[measure]") from None

        # The distance of FID is that of FVD: only the features differ.
        metric: Any = FrechetInceptionDistance(feature=self.features)
        for videos, flag in ((real, True), (ours, False)):
            for video in videos:
                clip = torch.from_numpy(video.frames).movedim(-1, 1)
                metric.update(clip[None], real=flag)
        return float(metric.compute())
