"""The general trainer: any network of `start.KINDS`, from nothing or from a model, on any source of clips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..backbones.lora import add_adapters, save_lora
from ..backbones.small_model import save_model
from ..errors import AnimaticError
from ..generation import Take
from ..methods.baselines import none
from ..video import Video
from .cache import Kept
from .clips import Clips, Cut, Positions, Sample, used_items
from .conditioning import KeptText, conditioned, without_captions
from .loop import Training, Watch, logger
from .matching import Note
from .settings import TrainingSettings
from .sources import items_of
from .start import begin

PREVIEW_STEPS = 50  # of samples while it learns; models of noise take 1,000 afterwards


class DiffusionTrainer(Training):
    """Trains as `settings` say; leaves a model folder, or a LoRA file."""

    def __init__(
        self, settings: TrainingSettings, watch: Watch = lambda done, count, told: None, note: Note = logger.warning
    ) -> None:
        super().__init__(settings, watch, note)
        s = settings
        self.skipped: set[str] = set()
        self.damaged: set[str] = set()
        self.repeated: set[str] = set()

        # What is learnt from, and what each clip is conditioned on.
        text = "none" if s.learn != "clips" else s.text
        items = items_of(s.data, s.frames, s.seed, self.note, captions=text != "none")
        items = used_items(items, s.frames, s.images, self.note)
        text_mode, items = conditioned(text, items, self.note)
        self.kept_text = KeptText(self.out)

        # What learns it.
        self.learner, self.text_mode = begin(s, text_mode, items, self.kept_text, self.note)
        self.items = without_captions(items) if self.text_mode == "none" else items
        self.model = self.learner.model
        self.learner.keep = s.cache
        if s.lora:
            self.learner.requires_grad_(False)
            add_adapters(self.model.unet, s.lora, s.lora_layers)
        self.kept_text.report_changes(self.text_mode, self.items, self.note)
        if s.sample_every and self.model.concat_conditioning:
            self.note(f"samples: none, since what learns to {s.learn} is sampled on some video")
        if not s.fps and s.frames > 1 and s.data.partition(":")[0] != "toy":
            self.note(f"fps: that of each file; videos of the model play at {self.model.geometry.fps:g}, see --fps")

        cut = Cut(s.frames, *s.pixels, fps=s.fps, short=s.short, flip=s.flip, crop=s.crop, steady=s.cache or s.steady)
        read = Kept(self.out / "cache", self.model) if s.cache else None
        self.clips = Clips(self.items, cut, s.images, s.seed, read)

    def before_first_step(self) -> None:
        self.kept_text.keep(self.text_mode, self.model.text, self.items)

    def preview(self) -> dict[str, Any]:
        """What a dry run tells: the first batch read, the loss on it, sizes and counts."""
        samples = [self.clips[i] for i in range(self.settings.batch_size)]
        with torch.no_grad():
            loss = self.loss(self.learner, samples).item()
        trained = sum(p.numel() for p in self.learner.parameters() if p.requires_grad)
        return {
            "clips": len(self.clips.clips),
            "pictures": len(self.clips.stills) if self.settings.images else 0,
            "text": self.text_mode,
            "network": type(self.model.unet).__name__,
            "parameters": sum(p.numel() for p in self.learner.parameters()),
            "trained": trained,
            "checkpoint MB": round(trained * 16 / 2**20, 1),
            "first captions": [s.captions[0] for s in samples],
            "first loss": round(loss, 4),
            "skipped": len(self.skipped),
        }

    def batches(self) -> Iterator[list[Sample]]:
        s, world = self.settings, self.accelerator.num_processes
        order = Positions(
            self.step * s.batch_size * world * s.gradient_accumulation,
            s.batch_size,
            self.accelerator.process_index,
            world,
        )
        loader = DataLoader(self.clips, s.batch_size, sampler=order, num_workers=s.workers, collate_fn=list)
        try:
            yield from loader
        except AnimaticError as error:  # a worker's has its traceback before it
            raise AnimaticError(str(error).strip().rpartition("AnimaticError: ")[2]) from None

    def loss(self, learner: Any, batch: Sequence[Sample]) -> Tensor:
        self._note(batch)
        s = self.settings
        frames = torch.stack([sample.frames for sample in batch]).to(self.model.device)
        x = frames.movedim(1, 2) if s.cache else self.model.to_latents(frames)
        return learner(x, batch, s.images, s.cfg_dropout, s.focus_present)

    def _note(self, samples: Sequence[Sample]) -> None:
        """Files that were passed over, or are cut or broken, once each; of those too short, which may be many, one."""
        for sample in samples:
            for complaint in sample.skipped:
                if complaint not in self.skipped:
                    self.skipped.add(complaint)
                    self.note(f"skipped ({len(self.skipped)}): {complaint}")
            for complaint in sample.damaged:
                if complaint not in self.damaged:
                    self.damaged.add(complaint)
                    self.note(f"damaged ({len(self.damaged)}): {complaint}; these are learnt from")
            for complaint in sample.repeated:
                if not self.repeated:
                    self.note(f"frames are repeated: {complaint}; the log counts how many files are like it")
                self.repeated.add(complaint)

    def told(self) -> dict[str, Any]:
        return {"skipped": len(self.skipped), "repeated": len(self.repeated)}

    def sample(self) -> None:
        """A grid of videos on captions of the data: `samples/step-N.mp4`, or .png of pictures."""
        s = self.settings
        if self.model.concat_conditioning:
            return
        prompts = [self.clips.caption(i) if self.learner.told_something else "" for i in range(s.samples)]
        guidance = s.guidance if self.learner.told_something else 1.0
        steps = min(PREVIEW_STEPS, self.model.defaults.steps)
        take = Take.of(self.model, none, guidance=guidance, frames=s.frames, steps=steps)

        # captions go to the model as they are: they may be empty, which no scene's prompt is
        width, height = take.size
        noise = self.model.noise(range(s.samples), s.frames, height, width)
        cond = self.model.encode(prompts, [self.model.defaults.negative] * s.samples)
        pixels, _ = take.shoot(noise, cond, none((), self.model, guidance))
        fps = self.model.geometry.fps
        grid([Video(frames, fps) for frames in pixels]).save(
            self.out / "samples" / f"step-{self.step:07d}.{'mp4' if s.frames > 1 else 'png'}"
        )

    def finish(self) -> Path:
        if self.settings.lora:
            words = [w.strip() for w in self.settings.teach.split(",") if w.strip()]
            return save_lora(self.model.unet, self.out / "lora.safetensors", words)
        save_model(self.out / "model", self.model)
        return self.out / "model"


def grid(videos: Sequence[Video], border: int = 2) -> Video:
    """Videos of one size on a square as near as can be, each with a border; empty places are black."""
    columns = math.ceil(len(videos) ** 0.5)
    count, height, width = videos[0].frames.shape[:3]
    high, wide = height + 2 * border, width + 2 * border
    page = np.zeros((count, -(-len(videos) // columns) * high, columns * wide, 3), np.uint8)
    for i, video in enumerate(videos):
        y, x = i // columns * high + border, i % columns * wide + border
        page[:, y : y + height, x : x + width] = video.frames
    return Video(page, videos[0].fps)


def fit(
    settings: TrainingSettings,
    watch: Watch = lambda done, count, told: None,
    stop_at: int | None = None,
    note: Note = logger.warning,
) -> Path:
    """Train as `settings` say; resumes what lies in `settings.out`. See `Trainer`."""
    return DiffusionTrainer(settings, watch, note).train(stop_at)
