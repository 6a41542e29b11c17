"""The trainer: any learner, one process or many. A run that was cut off and taken up again is the same run."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from ..backbones.small_model import save_model
from ..errors import AnimaticError
from ..methods.baselines import none
from ..rendering import render_batch
from ..scene import Scene, write_atomically
from ..video import Video
from .cache import Kept
from .data import Clips, Cut, Item, Positions, Sample, items_of
from .learner import latents
from .lora import adapt, save_lora
from .settings import Settings, check_resumed
from .start import backbone_of, begin

Watch = Callable[[int, int, dict[str, Any]], None]
"""(steps done, steps in all, what is known: loss, rate, videos/s, eta s, files skipped)."""


class Trainer:
    """One run in one process; `train()` takes it to its end, or to `stop_at`."""

    def __init__(self, settings: Settings, watch: Watch = lambda done, count, told: None) -> None:
        self.settings, self.watch = settings, watch
        self.out = Path(settings.out)
        if settings.log and find_spec(settings.log) is None:
            raise AnimaticError(f"log is {settings.log!r}, which is not installed; pip install {settings.log}")
        if settings.precision not in ("no", "bf16", "fp16"):
            raise AnimaticError(f"precision is {settings.precision!r}; want no, bf16 or fp16")
        unused = DistributedDataParallelKwargs(find_unused_parameters=settings.alone > 0 or settings.frames == 1)
        self.accelerator = Accelerator(
            gradient_accumulation_steps=settings.accumulate,
            mixed_precision=settings.precision,
            log_with=settings.log or None,
            project_dir=str(self.out),
            kwargs_handlers=[unused],
        )
        items = items_of(settings.data, settings.frames, settings.seed)
        self.learner, self.codec = begin(settings, items)
        self.learner.keep = settings.cache
        if settings.lora:
            self.learner.requires_grad_(False)
            adapt(self.learner.network, settings.lora, settings.lora_layers)
        self.clips = self._clips(items)
        self.skipped: dict[str, str] = {}
        self.step = 0

    def _clips(self, items: Sequence[Item]) -> Clips:
        s = self.settings
        cut = Cut(s.frames, *s.pixels, fps=s.fps, short=s.short, flip=s.flip, crop=s.crop, steady=s.cache)
        return Clips(items, cut, s.images, s.seed, Kept(self.out / "cache", self.codec) if s.cache else None)

    def preview(self) -> dict[str, Any]:
        """What a dry run tells: the first batch read, the loss on it, sizes and counts."""
        samples = [self.clips[i] for i in range(self.settings.batch)]
        self._note(samples)
        with torch.no_grad():
            loss = self._loss(self.learner, samples).item()
        trained = sum(p.numel() for p in self.learner.parameters() if p.requires_grad)
        return {
            "clips": len(self.clips.clips),
            "pictures": len(self.clips.stills) if self.settings.images else 0,
            "network": self.learner.kind,
            "parameters": sum(p.numel() for p in self.learner.parameters()),
            "trained": trained,
            "checkpoint MB": round(trained * 16 / 2**20, 1),
            "first captions": [s.captions[0] for s in samples],
            "first loss": round(loss, 4),
            "skipped": len(self.skipped),
        }

    def train(self, stop_at: int | None = None) -> Path:
        """Returns the model folder, or the LoRA file."""
        s, accelerator = self.settings, self.accelerator
        if accelerator.is_main_process:
            if (self.out / "settings.json").exists():
                check_resumed(s, self.out / "settings.json")
            write_atomically(self.out / "settings.json", s.to_json().encode())
        parameters = [p for p in self.learner.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, s.rate, betas=(0.9, 0.99), weight_decay=s.weight_decay)
        self.learner.train()
        learner, optimiser = accelerator.prepare(self.learner, optimiser)
        self.codec.to(accelerator.device)
        average = EMAModel(parameters, decay=s.average, foreach=True)
        average.to(accelerator.device)
        self._resume(average)
        if s.log:
            accelerator.init_trackers("animatic", config=asdict(s))
        end = s.steps if stop_at is None else min(stop_at, s.steps)
        batches, began, first = self._batches(), time.monotonic(), self.step
        while self.step < end:
            total = torch.zeros((), device=accelerator.device)
            for _ in range(s.accumulate):
                samples = next(batches)
                self._note(samples)
                with accelerator.accumulate(learner):
                    loss = self._loss(learner, samples)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(parameters, s.clip)
                    for group in optimiser.param_groups:
                        group["lr"] = s.rate_at(self.step)
                    optimiser.step()
                    optimiser.zero_grad()
                total += loss.detach() / s.accumulate
            average.step(parameters)
            self.step += 1
            mean: Any = accelerator.reduce(total, "mean")
            self._tell(mean, began, first)
            if self.step % s.save_every == 0 or self.step == end:
                self._save(average)
            if s.sample_every and self.step % s.sample_every == 0:
                self._with_average(average, parameters, self._sample)
        accelerator.wait_for_everyone()
        if s.log:
            accelerator.end_training()
        return self._with_average(average, parameters, self._finish)

    def _loss(self, learner: Any, samples: Sequence[Sample]) -> Tensor:
        s = self.settings
        frames = torch.stack([sample.frames for sample in samples]).to(self.accelerator.device)
        x = frames.movedim(1, 2) if s.cache else latents(self.codec, frames)
        return learner(x, samples, s.images, s.drop, s.alone)

    def _batches(self) -> Iterator[list[Sample]]:
        s, accelerator = self.settings, self.accelerator
        rows = s.batch * accelerator.num_processes * s.accumulate
        order = Positions(self.step * rows, s.batch, accelerator.process_index, accelerator.num_processes)
        loader = DataLoader(self.clips, s.batch, sampler=order, num_workers=s.workers, collate_fn=list)
        return iter(loader)

    def _note(self, samples: Sequence[Sample]) -> None:
        """Files that were passed over: said once each, counted."""
        for complaint in (c for sample in samples for c in sample.skipped):
            if complaint not in self.skipped:
                self.skipped[complaint] = complaint
                self.accelerator.print(f"skipped ({len(self.skipped)}): {complaint}")

    def _tell(self, loss: Tensor, began: float, first: int) -> None:
        s, done = self.settings, self.step - first
        pace = (time.monotonic() - began) / done
        rows = s.batch * s.accumulate * self.accelerator.num_processes
        told = {"loss": round(loss.item(), 5), "rate": s.rate_at(self.step - 1)}
        told |= {"videos/s": round(rows / pace, 2), "eta s": round(pace * (s.steps - self.step))}
        told |= {"skipped": len(self.skipped)}
        if not self.accelerator.is_main_process:
            return
        self.watch(self.step, s.steps, told)
        with (self.out / "log.jsonl").open("a") as log:
            print(json.dumps({"step": self.step, **told}), file=log)
        if s.log:
            self.accelerator.log(told, step=self.step)

    def _save(self, average: EMAModel) -> None:
        """A whole checkpoint or none: written beside, then renamed; older ones go when it stands."""
        final = self.out / "checkpoints" / f"step-{self.step:07d}"
        part = final.with_name(f".part-{final.name}")
        try:
            if self.accelerator.is_main_process:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(part), safe_serialization=True)
            if self.accelerator.is_main_process:
                names = {str(i): p.detach().contiguous() for i, p in enumerate(average.shadow_params)}
                save_file(names, part / "average.safetensors")
                progress = {"step": self.step, "averaged": average.optimization_step}
                (part / "progress.json").write_text(json.dumps(progress))
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(part, ignore_errors=True)
            raise AnimaticError(
                f"{final}: cannot be written ({str(error).splitlines()[0]}); earlier checkpoints are whole, run again"
            ) from None
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            shutil.rmtree(final, ignore_errors=True)
            part.rename(final)
            for old in sorted(final.parent.glob("step-*"))[: -self.settings.keep]:
                shutil.rmtree(old)

    def _resume(self, average: EMAModel) -> None:
        found = sorted((self.out / "checkpoints").glob("step-*"))
        if not found:
            return
        try:
            self.accelerator.load_state(str(found[-1]))
            progress = json.loads((found[-1] / "progress.json").read_text())
            kept = load_file(found[-1] / "average.safetensors")
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise AnimaticError(f"{found[-1]}: cannot be taken up ({reason}); want a checkpoint of this run") from None
        for i, shadow in enumerate(average.shadow_params):
            shadow.data.copy_(kept[str(i)])
        self.step, average.optimization_step = progress["step"], progress["averaged"]

    def _with_average(self, average: EMAModel, parameters: list[Any], act: Callable[[], Path]) -> Path:
        """`act` with the averaged weights in place, in evaluation mode, on the main process."""
        average.store(parameters)
        average.copy_to(parameters)
        self.learner.eval()
        try:
            made = [act() if self.accelerator.is_main_process else None]
        finally:
            average.restore(parameters)
            self.learner.train()
        broadcast_object_list(made)
        assert made[0] is not None
        return made[0]

    def _sample(self) -> Path:
        """A grid of videos on captions of the data, as one mp4: `samples/step-N.mp4`."""
        s, backbone = self.settings, backbone_of(self.learner, self.codec, self.settings.guidance)
        file = self.out / "samples" / f"step-{self.step:07d}.mp4"
        if backbone.beside:  # it is sampled on some video
            return file
        seconds = 0.0 if s.frames == 1 else s.frames / self.learner.geometry.fps
        prompts = [self.clips.caption(i) if self.learner.told_something else "" for i in range(s.samples)]
        scenes = [Scene(prompt, (), seconds=seconds) for prompt in prompts]
        made = render_batch(scenes, backbone, none, list(range(s.samples)))
        return grid(made).save(file if s.frames > 1 else file.with_suffix(".png"))

    def _finish(self) -> Path:
        learner = self.learner
        if self.settings.lora:
            words = [w.strip() for w in self.settings.teach.split(",") if w.strip()]
            return save_lora(learner.network, self.out / "lora.safetensors", words)
        save_model(self.out / "model", backbone_of(learner, self.codec, self.settings.guidance))
        return self.out / "model"


def grid(videos: Sequence[Video], border: int = 2) -> Video:
    """Videos of one size on a square as near as can be, each with a border; empty places are black."""
    columns = math.ceil(len(videos) ** 0.5)
    count, height, width = videos[0].frames.shape[:3]
    rows = -(-len(videos) // columns)
    high, wide = height + 2 * border, width + 2 * border
    page = np.zeros((count, rows * high, columns * wide, 3), np.uint8)
    for i, video in enumerate(videos):
        y, x = i // columns * high + border, i % columns * wide + border
        page[:, y : y + height, x : x + width] = video.frames
    return Video(page, videos[0].fps)


def fit(settings: Settings, watch: Watch | None = None, stop_at: int | None = None) -> Path:
    """Train as `settings` say; resumes what lies in `settings.out`. See `Trainer`."""
    trainer = Trainer(settings, watch) if watch else Trainer(settings)
    return trainer.train(stop_at)
