"""The training loop: one process or many. A run that was cut off and taken up again is the same run."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..backbones.components import Components
from ..errors import AnimaticError
from ..files import read_json, write_atomically
from .matching import Note
from .settings import RENAMED, TrainingSettings

logger = logging.getLogger(__name__)

Watch = Callable[[int, int, dict[str, Any]], None]
"""(steps done, steps in all, what is known: loss, rate, videos/s, eta s, and what the run itself tells)."""

FREE = frozenset(
    "out steps clip_steps decay save_every keep_checkpoints sample_every samples guidance threshold log workers".split()
)
"""What may change when a run is resumed; all else would make it another run."""


TRACKERS = ("tensorboard", "trackio", "wandb")


class Trainer(ABC):
    """One run in one process; `train()` takes it to its end, or to `stop_at`.

    What is trained sets `learner`, a module whose parameters that want a gradient learn, and the `model` it is of.
    `note` is given each line that a user should read: what of the data or the settings is not used, and why.
    """

    train_module: Any
    model: Components
    betas = (0.9, 0.99)  # of AdamW

    def __init__(
        self, settings: TrainingSettings, watch: Watch = lambda done, count, told: None, note: Note = logger.warning
    ) -> None:
        if settings.log and settings.log not in TRACKERS:
            raise AnimaticError(f"log is {settings.log!r}; want {', '.join(TRACKERS)}")
        if settings.log and find_spec(settings.log) is None:
            raise AnimaticError(f"log is {settings.log!r}, which is not installed; pip install {settings.log}")
        if settings.mixed_precision not in ("no", "bf16", "fp16"):
            raise AnimaticError(f"mixed_precision is {settings.mixed_precision!r}; want no, bf16 or fp16")
        self.settings, self.watch, self.out, self.step = settings, watch, Path(settings.out), 0
        unused = DistributedDataParallelKwargs(
            find_unused_parameters=settings.focus_present > 0 or settings.frames == 1
        )
        self.accelerator = Accelerator(
            gradient_accumulation_steps=settings.gradient_accumulation,
            mixed_precision=settings.mixed_precision,
            log_with=settings.log or None,
            project_dir=str(self.out),
            kwargs_handlers=[unused],
        )
        self.note: Note = note if self.accelerator.is_main_process else lambda line: None

    @abstractmethod
    def batches(self) -> Iterator[Any]:
        """The micro-batches of this process from step `self.step` on, without end."""

    @abstractmethod
    def loss(self, learner: Any, batch: Any) -> Tensor:
        """Of one micro-batch; `learner` is ours as accelerate prepared it."""

    @abstractmethod
    def finish(self) -> Path:
        """Write what was learnt; like `sample` called with the averaged weights, by the main process alone."""

    def before_first_step(self) -> None:  # noqa: B027 - nothing is kept unless it is overridden
        """Keep beside the settings what a later start needs; the main process calls it before the first step."""

    def sample(self) -> None:  # noqa: B027 - nothing is shown unless it is overridden
        """Show what is learnt so far."""

    def log_values(self) -> dict[str, Any]:
        """What the log says of a step beside loss, rate and pace."""
        return {}

    def train(self, stop_at: int | None = None) -> Path:
        """Returns what `finish` wrote."""
        s, accelerator = self.settings, self.accelerator
        if accelerator.is_main_process:
            claim(self.out / "settings.json", asdict(s))
            self.before_first_step()
        parameters = [p for p in self.train_module.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, s.learning_rate, betas=self.betas, weight_decay=s.weight_decay)
        self.train_module.train()
        learner, optimiser = accelerator.prepare(self.train_module, optimiser)
        self.model.vae.to(accelerator.device)
        average = new_ema(parameters, s)
        average.to(accelerator.device)
        self._resume(average)
        if s.log:
            accelerator.init_trackers("animatic", config=asdict(s))
        end = s.steps if stop_at is None else min(stop_at, s.steps)
        if self.step >= end and self.step:
            self.note(f"{self.out} has {self.step} steps; --steps {end} adds none")
        batches, began, first = self.batches(), time.monotonic(), self.step
        while self.step < end:
            total = torch.zeros((), device=accelerator.device)
            for _ in range(s.gradient_accumulation):
                with accelerator.accumulate(learner):
                    loss = self.loss(learner, next(batches))
                    accelerator.backward(loss)
                    if accelerator.sync_gradients and s.max_grad_norm:
                        accelerator.clip_grad_norm_(parameters, s.max_grad_norm)
                    for group in optimiser.param_groups:
                        group["lr"] = s.rate_at(self.step)
                    optimiser.step()
                    optimiser.zero_grad()
                total += loss.detach() / s.gradient_accumulation
            if self.step % s.ema_every == 0:
                average.step(parameters)
            self.step += 1
            mean: Any = accelerator.reduce(total, "mean")
            if not math.isfinite(mean.item()):
                raise AnimaticError(
                    f"step {self.step}: the loss is {mean.item()}; want a lower rate, now {s.learning_rate:g}"
                )
            if accelerator.is_main_process:
                self._tell(mean.item(), (time.monotonic() - began) / (self.step - first))
            if self.step % s.save_every == 0 or self.step == end:
                self._save(average)
            if s.sample_every and self.step % s.sample_every == 0 and accelerator.is_main_process:
                with self._averaged(average, parameters):
                    self.sample()
        accelerator.wait_for_everyone()
        if s.log:
            accelerator.end_training()
        with self._averaged(average, parameters):
            made: list[Any] = [self.finish() if accelerator.is_main_process else None]
        broadcast_object_list(made)
        return made[0]

    def _tell(self, loss: float, pace: float) -> None:
        s = self.settings
        rows = s.batch_size * s.gradient_accumulation * self.accelerator.num_processes
        told = {"loss": round(loss, 5), "rate": s.rate_at(self.step - 1), "videos/s": round(rows / pace, 2)}
        told |= {"eta s": round(pace * (s.steps - self.step)), **self.log_values()}
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
            for old in sorted(final.parent.glob("step-*"))[: -self.settings.keep_checkpoints]:
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
            reason = "; ".join(line.strip() for line in str(error).splitlines()[:2])  # the first names no layer
            raise AnimaticError(f"{found[-1]}: cannot be taken up ({reason}); want a checkpoint of this run") from None
        for i, shadow in enumerate(average.shadow_params):
            shadow.data.copy_(kept[str(i)])
        self.step, average.optimization_step = progress["step"], progress["averaged"]

    @contextmanager
    def _averaged(self, average: EMAModel, parameters: list[Any]) -> Iterator[None]:
        """The averaged weights in place, in evaluation mode."""
        average.store(parameters)
        average.copy_to(parameters)
        self.train_module.eval()
        try:
            yield
        finally:
            average.restore(parameters)
            self.train_module.train()


def new_ema(parameters: list[Any], s: TrainingSettings) -> EMAModel:
    """Exponentially averaged weights: a copy in the first `ema_start` steps; later, at every `ema_every`-th, averaged.

    From a given start on the decay is constant, as in video-diffusion-pytorch 0.7 (`step_start_ema`, 2,000 there, and
    `update_ema_every`, 10 there); without one it rises with every update to `average`.
    """
    copied = -(-s.ema_start // s.ema_every)  # updates, the first of them at step 0
    least = s.ema_decay if copied else 0.0
    return EMAModel(parameters, s.ema_decay, min_decay=least, update_after_step=max(0, copied - 1), foreach=True)


def claim(file: Path, now: Mapping[str, Any]) -> None:
    """Write what a run is told into its folder. Raises where it was told another thing that may not change."""
    before = read_json(file) if file.exists() else now
    if not isinstance(before, dict):
        raise AnimaticError(f"{file}: is not what a run writes; want another --out")
    before = {name if name in now else RENAMED.get(name, name): value for name, value in before.items()}
    for name, value in now.items():
        was_told = before.get(name, getattr(TrainingSettings, name, None))  # a run from before there was such a setting
        if name not in FREE and was_told != value:
            was = f"{name} was {was_told!r}, now {value!r}"
            raise AnimaticError(f"{file.parent} holds another run: {was}; want the same, or another --out")
    write_atomically(file, (json.dumps(now, indent=1) + "\n").encode())
