"""The general trainer: any network of `initial_model.KINDS`, from random weights or a model, on any source of clips."""

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
from ..controls.finite import Finite
from ..controls.guidance import Guidance
from ..core import loop
from ..core.arithmetic import ceil_div
from ..errors import AnimaticError
from ..video import Video
from .clips import Clips, Cut, Positions, Sample, used_items
from .conditioning import RunText, with_text_mode, without_captions
from .data_contents import DataContents
from .initial_model import new_train_module
from .latent_cache import LatentCache
from .loop import Trainer, Watch, logger
from .matching import Note
from .settings import TrainingSettings
from .sources import items_of

PREVIEW_STEPS = 50  # most sampling steps during training; models that predict eps take 1,000 afterwards


class DiffusionTrainer(Trainer):
    """Trains a video diffusion model, or LoRA adapters; `finish` writes a model folder, or a LoRA file.

    Raises `AnimaticError` where data or settings do not fit the model, before the first step.
    """

    def __init__(
        self, settings: TrainingSettings, watch: Watch = lambda done, count, values: None, note: Note = logger.warning
    ) -> None:
        super().__init__(settings, watch, note)
        self.skipped: set[str] = set()
        self.damaged: set[str] = set()
        self.repeated: set[str] = set()

        # The data, and what each clip is conditioned on.
        text = settings.text if settings.learn == "clips" else "none"
        reads_captions = text != "none"
        items = items_of(settings.data, settings.frames, settings.seed, self.note, captions=reads_captions)
        items = used_items(items, settings.frames, settings.images, self.note)
        self.contents = DataContents(self.out)
        items = self.contents.of(items)
        text_mode, items = with_text_mode(text, items, self.note)
        self.run_text = RunText(self.out)

        # The module that is trained.
        self.train_module, self.text_mode = new_train_module(settings, text_mode, items, self.run_text, self.note)
        self.items = without_captions(items) if self.text_mode == "none" else items
        self.model = self.train_module.model
        self.train_module.caches_text = settings.cache
        if settings.lora:
            self.train_module.requires_grad_(False)
            add_adapters(self.model.unet, settings.lora, settings.lora_layers)

        # What differs from the last start, and what the settings leave open.
        self.run_text.report_changes(self.text_mode, self.items, self.note)
        if settings.sample_every and self.model.concat_conditioning:
            self.note(f"samples: none, since --learn {settings.learn} needs a video to start from")
        is_toy = settings.data.partition(":")[0] == "toy"
        has_own_rates = not settings.fps and settings.frames > 1 and not is_toy
        if has_own_rates:
            self.note(f"fps: that of each file; videos of the model play at {self.model.geometry.fps:g}, see --fps")

        # Clips as the network takes them, or cached latents.
        cut = Cut(
            settings.frames,
            *settings.pixels,
            fps=settings.fps,
            short=settings.short,
            flip=settings.flip,
            crop=settings.crop,
            steady=settings.cache or settings.steady,
        )
        read = LatentCache(self.out / "cache", self.model) if settings.cache else None
        self.clips = Clips(self.items, cut, settings.images, settings.seed, read)

    def before_first_step(self) -> None:
        self.run_text.save(self.text_mode, self.model.text, self.items)
        self.contents.save()

    def preview(self) -> dict[str, Any]:
        """What a dry run reports: sizes and counts, the first captions, and the loss of the first batch."""
        # The loss of a whole batch, computed as training does it.
        settings = self.settings
        samples = [self.clips[i] for i in range(settings.batch_size)]
        with torch.no_grad():
            loss = self.loss(self.train_module, samples).item()

        # What a checkpoint will take.
        total = trained = 0
        for parameter in self.train_module.parameters():
            total += parameter.numel()
            if parameter.requires_grad:
                trained += parameter.numel()
        bytes_per_parameter = 16  # float32: the weight, its average, and the two moments of Adam
        megabytes = trained * bytes_per_parameter / 2**20
        return {
            "clips": len(self.clips.clips),
            "pictures": len(self.clips.stills) if settings.images else 0,
            "text": self.text_mode,
            "network": type(self.model.unet).__name__,
            "parameters": total,
            "trained": trained,
            "checkpoint MB": round(megabytes, 1),
            "first captions": [sample.captions[0] for sample in samples],
            "first loss": round(loss, 4),
            "skipped": len(self.skipped),
        }

    def batches(self) -> Iterator[list[Sample]]:
        settings = self.settings
        processes = self.accelerator.num_processes
        samples_per_step = settings.batch_size * processes * settings.gradient_accumulation
        positions = Positions(
            self.step * samples_per_step, settings.batch_size, self.accelerator.process_index, processes
        )
        loader = DataLoader(
            self.clips, settings.batch_size, sampler=positions, num_workers=settings.workers, collate_fn=list
        )

        # Samples are read in the order of their positions, whatever the number of workers.
        try:
            yield from loader
        except AnimaticError as error:  # that of a worker process has its traceback before the message
            raise AnimaticError(str(error).strip().rpartition("AnimaticError: ")[2]) from None

    def loss(self, train_module: Any, batch: Sequence[Sample]) -> Tensor:
        # Pixels are encoded on the device of the model.
        self._report_files(batch)
        settings = self.settings
        stacked = torch.stack([sample.frames for sample in batch])
        frames = stacked.to(self.model.device)
        if settings.cache:  # the frames are latents already
            x = frames.movedim(1, 2)
        else:
            x = self.model.to_latents(frames)
        return train_module(x, batch, settings.images, settings.cfg_dropout, settings.focus_present)

    def _report_files(self, samples: Sequence[Sample]) -> None:
        """Note each skipped or damaged file once, and the first file whose frames are repeated."""
        for sample in samples:
            for complaint in sample.skipped:
                if complaint not in self.skipped:
                    self.skipped.add(complaint)
                    self.note(f"skipped ({len(self.skipped)}): {complaint}")
            for complaint in sample.damaged:
                if complaint not in self.damaged:
                    self.damaged.add(complaint)
                    self.note(f"damaged ({len(self.damaged)}): {complaint}; the frames that can be read are used")
            for complaint in sample.repeated:  # may be many, so only the first is noted
                if not self.repeated:
                    self.note(f"frames are repeated: {complaint}; the log counts how many files are like it")
                self.repeated.add(complaint)

    def log_values(self) -> dict[str, Any]:
        return {"skipped": len(self.skipped), "repeated": len(self.repeated)}

    def sample(self) -> None:
        """Write a grid of videos for captions of the data: `samples/step-N.mp4`, or .png where clips have one frame."""
        settings = self.settings
        if self.model.concat_conditioning:
            return

        # Captions go to the model as they are: unlike the prompt of a scene they may be empty.
        reads_text = self.train_module.reads_text
        prompts = [self.clips.caption(i) if reads_text else "" for i in range(settings.samples)]
        guidance = settings.guidance if reads_text else 1.0
        steps = min(PREVIEW_STEPS, self.model.defaults.steps)
        schedule = self.model.schedule(steps, self.model.defaults.scheduler)

        # The same noise at every step of training, so that grids can be compared.
        geometry = self.model.geometry
        noise = self.model.noise(range(settings.samples), settings.frames, geometry.height, geometry.width)
        negatives = [self.model.defaults.negative] * settings.samples
        cond = self.model.encode(prompts, negatives)
        latents = loop.sample(self.model, schedule, noise, cond, [Finite(), Guidance()], guidance=guidance)
        pixels = self.model.decode(latents).cpu().numpy()

        fps = self.model.geometry.fps
        suffix = "mp4" if settings.frames > 1 else "png"
        name = f"step-{self.step:07d}.{suffix}"
        file = self.out / "samples" / name
        grid([Video(frames, fps) for frames in pixels]).save(file)

    def finish(self) -> Path:
        """The path of the LoRA file, or of the model folder."""
        if self.settings.lora:
            # The words travel in the file's header.
            words = [word.strip() for word in self.settings.teach.split(",")]
            trigger_words = [word for word in words if word]
            return save_lora(self.model.unet, self.out / "lora.safetensors", trigger_words)
        save_model(self.out / "model", self.model)
        return self.out / "model"


def grid(videos: Sequence[Video], border: int = 2) -> Video:
    """Videos of one size in a grid that is as square as possible.

    Each video has a border of `border` black pixels; cells without a video are black.
    """
    # Square in numbers, not in pixels.
    columns = math.ceil(len(videos) ** 0.5)
    rows = ceil_div(len(videos), columns)
    frames, height, width = videos[0].frames.shape[:3]
    cell_height = height + 2 * border
    cell_width = width + 2 * border
    height_in_all, width_in_all = rows * cell_height, columns * cell_width
    page = np.zeros((frames, height_in_all, width_in_all, 3), np.uint8)

    for i, video in enumerate(videos):
        row, column = divmod(i, columns)
        y = row * cell_height + border
        x = column * cell_width + border
        page[:, y : y + height, x : x + width] = video.frames
    return Video(page, videos[0].fps)


def fit(
    settings: TrainingSettings,
    watch: Watch = lambda done, count, values: None,
    stop_at: int | None = None,
    note: Note = logger.warning,
) -> Path:
    """Train with `settings`, or resume the run in `settings.out`; returns the model folder or LoRA file.

    See `Trainer` for the arguments and `Trainer.train` for `stop_at`.
    """
    return DiffusionTrainer(settings, watch, note).train(stop_at)
