"""The training loop, for one process or several, with checkpoints from which an interrupted run resumes exactly."""

from __future__ import annotations

import atexit
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, is_initialized
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from ..backbones.components import Components
from ..core.arithmetic import ceil_div
from ..errors import AnimaticError
from ..files import sync, sync_tree
from . import step_log
from .checkpoints import claim, load_checkpoint, save_checkpoint
from .matching import Note
from .settings import RENAMED, TrainingSettings

logger = logging.getLogger(__name__)

Watch = Callable[[int, int, dict[str, Any]], None]
"""Called after each step with (steps done, steps in all, values of the log: loss, rate, videos/s, eta s, and more)."""

FUSED = ("cpu", "cuda")  # devices for which every PyTorch has AdamW as one kernel
TRACKERS = ("tensorboard", "trackio", "wandb")


class Trainer(ABC):
    """One training run; `train()` takes it to its last step, or to `stop_at`.

    A subclass sets `train_module`, the module whose parameters with `requires_grad` are optimised, and `model`, the
    model that it belongs to. It implements `batches`, `loss` and `finish`.

    Args:
        settings: The settings of the run; `settings.out` is its folder.
        watch: Called after every step, see `Watch`.
        note: Called with each line that the user should read: data or settings that are not used, and why.

    Raises `AnimaticError` where a setting names an unknown or missing tracker, or an unknown precision.
    """

    train_module: Any
    model: Components
    betas = (0.9, 0.99)  # of AdamW

    def __init__(
        self, settings: TrainingSettings, watch: Watch = lambda done, count, values: None, note: Note = logger.warning
    ) -> None:
        _check_logging_and_precision(settings)
        self.settings = settings
        self.watch = watch
        self.out = Path(settings.out)
        self.step = 0

        # Single frames leave the temporal layers out, so that some parameters get no gradient in a step.
        skips_layers = settings.focus_present > 0 or settings.frames == 1
        self.accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),  # else several processes on a CPU do not know of each other
            gradient_accumulation_steps=settings.gradient_accumulation,
            mixed_precision=settings.mixed_precision,
            log_with=settings.log or None,
            project_dir=str(self.out),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=skips_layers)],
        )
        self.note: Note = note if self.accelerator.is_main_process else lambda line: None

        # Messages that are still on their way while the interpreter ends would abort a run that is complete.
        atexit.register(self.accelerator.state.destroy_process_group)

    @abstractmethod
    def batches(self) -> Iterator[Any]:
        """The micro-batches of this process from step `self.step` on, without end."""

    @abstractmethod
    def loss(self, train_module: Any, batch: Any) -> Tensor:
        """The loss of one micro-batch, a scalar; `train_module` is `self.train_module` as accelerate prepared it."""

    def optimisers(self, parameters: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
        """Optimisers of `parameters`, each of which belongs to one of them; the loop sets their learning rate."""
        settings = self.settings
        adam = torch.optim.AdamW(
            parameters,
            settings.learning_rate,
            betas=self.betas,
            weight_decay=settings.weight_decay,
            fused=self.accelerator.device.type in FUSED,
        )
        return [adam]

    @abstractmethod
    def finish(self) -> Path:
        """Write the result and return its path. Called like `sample`, with the averaged weights in the main process."""

    def before_first_step(self) -> None:  # noqa: B027 - nothing is written unless it is overridden
        """Write what a resumed run needs besides the settings. The main process calls it before the first step."""

    def sample(self) -> None:  # noqa: B027 - nothing is sampled unless it is overridden
        """Write samples of the model as it is now."""

    def log_values(self) -> dict[str, Any]:
        """Further values for the log of a step, in addition to loss, learning rate and throughput."""
        return {}

    def train(self, stop_at: int | None = None) -> Path:
        """Train from the latest checkpoint, or from the beginning; returns the path that `finish` wrote.

        Args:
            stop_at: Step at which to stop early, as if the run were interrupted there.

        Raises `AnimaticError` where the folder holds a different run, a checkpoint cannot be read or written, or the
        loss is not finite.
        """
        settings, accelerator = self.settings, self.accelerator

        # The folder is claimed before any weight changes.
        if accelerator.is_main_process:
            claim(self.out / "settings.json", asdict(settings), RENAMED)
            self.before_first_step()

        # Optimisers, distributed wrapper and averaged weights.
        self.train_module.to(accelerator.device).train()
        parameters = [p for p in self.train_module.parameters() if p.requires_grad]
        train_module, *optimisers = accelerator.prepare(self.train_module, *self.optimisers(parameters))
        self.model.vae.to(accelerator.device)
        ema = new_ema(parameters, settings)
        ema.to(accelerator.device)

        # Resume.
        self.step = load_checkpoint(accelerator, self.out, ema)
        if accelerator.is_main_process:
            step_log.shorten(self.out, self.step)
        if settings.log:
            accelerator.init_trackers("animatic", config=asdict(settings))

        # More steps may be asked for when a run is resumed.
        last_step = settings.steps if stop_at is None else min(stop_at, settings.steps)
        if self.step >= last_step and self.step:
            self.note(f"{self.out} has {self.step} steps; --steps {last_step} adds none")

        batches = self.batches()
        start_time = time.monotonic()
        start_step = self.step

        # An update of the weights, and of their average.
        while self.step < last_step:
            loss = self._optimiser_step(train_module, optimisers, parameters, batches)
            if self.step % settings.ema_every == 0:
                ema.step(parameters)
            self.step += 1

            # Log: the loss is the mean over all processes.
            mean_loss: Any = accelerator.reduce(loss, "mean")
            self._check_finite(mean_loss.item())
            if accelerator.is_main_process:
                seconds_per_step = (time.monotonic() - start_time) / (self.step - start_step)
                self._log(mean_loss.item(), seconds_per_step)

            # Checkpoints and samples.
            if self.step % settings.save_every == 0 or self.step == last_step:
                if accelerator.is_main_process:
                    sync(step_log.file_of(self.out))  # a checkpoint is never ahead of its log
                save_checkpoint(accelerator, self.out, self.step, ema, settings.keep_checkpoints)
            is_sampling_step = settings.sample_every and self.step % settings.sample_every == 0
            if is_sampling_step and accelerator.is_main_process:
                with self._ema_weights(ema, parameters):
                    self.sample()

        # The main process writes the result; all processes return its path.
        accelerator.wait_for_everyone()
        for tracker in accelerator.trackers:
            tracker.finish()  # not `end_training`: it ends the processes' exchange as well, which is needed below
        with self._ema_weights(ema, parameters):
            result: list[Any] = [self._finish_on_disk() if accelerator.is_main_process else None]
        broadcast_object_list(result)
        return result[0]

    def _finish_on_disk(self) -> Path:
        """`finish`, whose result a power cut leaves once its path was reported."""
        made = self.finish()
        if made.is_dir():
            sync_tree(made)
        sync(made.parent)
        return made

    def _optimiser_step(
        self, train_module: Any, optimisers: list[Any], parameters: list[nn.Parameter], batches: Iterator[Any]
    ) -> Tensor:
        """One update from `gradient_accumulation` micro-batches; returns their mean loss on this process."""
        settings, accelerator = self.settings, self.accelerator
        mean_loss = torch.zeros((), device=accelerator.device)

        for _ in range(settings.gradient_accumulation):
            with accelerator.accumulate(train_module):
                loss = self.loss(train_module, next(batches))
                accelerator.backward(loss)
                if accelerator.sync_gradients and settings.max_grad_norm:
                    accelerator.clip_grad_norm_(parameters, settings.max_grad_norm)

                # The optimisers of accelerate skip these two calls while gradients accumulate.
                for optimiser in optimisers:
                    for group in optimiser.param_groups:
                        group["lr"] = settings.learning_rate_at(self.step)
                    optimiser.step()
                    optimiser.zero_grad()

            # The log shows the mean over all micro-batches.
            mean_loss += loss.detach() / settings.gradient_accumulation
        return mean_loss

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            rate = self.settings.learning_rate
            raise AnimaticError(f"step {self.step}: the loss is {loss}; want a lower learning rate, now {rate:g}")

    def _log(self, loss: float, seconds_per_step: float) -> None:
        """Pass the values of a step to `watch`, to the log and to the tracker."""
        settings = self.settings
        clips_per_step = settings.batch_size * settings.gradient_accumulation * self.accelerator.num_processes
        seconds_left = seconds_per_step * (settings.steps - self.step)
        values = {
            "loss": round(loss, 5),
            "rate": settings.learning_rate_at(self.step - 1),
            "videos/s": round(clips_per_step / seconds_per_step, 2),
            "eta s": round(seconds_left),
        }
        values |= self.log_values()

        self.watch(self.step, settings.steps, values)
        step_log.append(self.out, self.step, values)
        if settings.log:
            self.accelerator.log(values, step=self.step)

    @contextmanager
    def _ema_weights(self, ema: EMAModel, parameters: list[Any]) -> Iterator[None]:
        """Within this context the module has the averaged weights and is in evaluation mode."""
        # The trained weights are put back afterwards, on errors too.
        ema.store(parameters)
        ema.copy_to(parameters)
        self.train_module.eval()
        try:
            yield
        finally:
            ema.restore(parameters)
            self.train_module.train()


def _check_logging_and_precision(settings: TrainingSettings) -> None:
    if settings.log and settings.log not in TRACKERS:
        raise AnimaticError(f"log is {settings.log!r}; want {', '.join(TRACKERS)}")

    # A missing package would end the run after the data are read.
    if settings.log and find_spec(settings.log) is None:
        raise AnimaticError(f"log is {settings.log!r}, which is not installed; pip install {settings.log}")
    if settings.mixed_precision not in ("no", "bf16", "fp16"):
        raise AnimaticError(f"mixed_precision is {settings.mixed_precision!r}; want no, bf16 or fp16")

    # accelerate keeps one precision for all runs of a process.
    if is_initialized() and AcceleratorState().mixed_precision != settings.mixed_precision:
        before = AcceleratorState().mixed_precision
        wanted = settings.mixed_precision
        raise AnimaticError(f"mixed_precision is {wanted!r}, and was {before!r} in this process; want a new process")


def new_ema(parameters: list[Any], settings: TrainingSettings) -> EMAModel:
    """The exponential moving average of the weights: a copy in the first `ema_start` steps, averaged afterwards.

    With `ema_start` the decay is constant from then on, as in video-diffusion-pytorch 0.7 (`step_start_ema`, 2,000
    there, and `update_ema_every`, 10 there). Without it the decay rises with every update to `ema_decay`.
    """
    # diffusers counts updates, the settings steps.
    copying_updates = ceil_div(settings.ema_start, settings.ema_every)  # the first of them is at step 0
    min_decay = settings.ema_decay if copying_updates else 0.0
    first_averaged = max(0, copying_updates - 1)
    return EMAModel(parameters, settings.ema_decay, min_decay=min_decay, update_after_step=first_averaged, foreach=True)
