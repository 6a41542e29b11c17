"""The page docs/schedulers.md: every scheduler class that diffusers exports, and what it does here.

`reference.py` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator

import diffusers
import torch

from animatic.core.schedule import Schedule
from animatic.core.schedulers import SHORT, scheduler_named
from animatic.errors import AnimaticError

STEPS = 10
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
SHIFTED = {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
MODELS = {  # what a model was trained for, by its own scheduler
    "noise or v": diffusers.DDIMScheduler(**BETAS, steps_offset=1),
    "zero terminal SNR": diffusers.DDIMScheduler(**BETAS, **SHIFTED),
    "flow matching": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
}
HEAD = """# Schedulers

Written by `runs/reference.py` from the installed diffusers, whose every scheduler class is listed;
`tests/test_schedulers.py` compares each that runs with diffusers' own stepping. `--scheduler NAME` takes a class or a
short name; without it a model's own is used. A scheduler gets the noise levels, the prediction type and the clipping of
the model's own.

Schedulers that draw noise on the way draw it from each video's seed: the same frames twice, in a batch, and in another
process. Those of second order evaluate the network twice a step, and so take nearly twice the time of as many steps.
"""
REFUSED = """
## What does not run

Refused by name before any work, with what runs in its place (for models of flow matching: `flow`).

| scheduler | why | instead |
|---|---|---|"""


def schedulers() -> str:
    """The page."""
    return "\n".join(_page()) + "\n"


def classes() -> list[str]:
    """Every scheduler class that diffusers exports, and this project's own."""
    exported = [name for name in dir(diffusers) if name.endswith("Scheduler")]
    return sorted({*exported, *SHORT.values()})


def _page() -> Iterator[str]:
    short = {name: typed for typed, name in SHORT.items()}
    running: list[str] = []
    refused: list[str] = []
    for name in classes():
        made = {kind: _made(name, like) for kind, like in MODELS.items()}
        schedules = [each for each in made.values() if isinstance(each, Schedule)]
        if not schedules:
            message = str(made["noise or v"])
            reason, _, instead = message.removeprefix(f"{name} ").rpartition("; want ")
            refused.append(f"| `{name}` | {reason} | `{instead}` |")
            continue
        cells = ["yes" if isinstance(each, Schedule) else "no" for each in made.values()]
        draws = "yes" if _draws(schedules[0]) else "no"
        typed = f"`{name}`, `{short[name]}`" if name in short else f"`{name}`"
        running.append(f"| {typed} | {' | '.join(cells)} | {len(schedules[0])} | {draws} |")

    yield HEAD
    kinds = " | ".join(f"models of {kind}" for kind in MODELS)
    yield f"| scheduler | {kinds} | evaluations in {STEPS} steps | draws noise |"
    yield "|---" * (len(MODELS) + 3) + "|"
    yield from running
    yield REFUSED
    yield from refused


def _made(name: str, like: object) -> Schedule | AnimaticError:
    """A schedule for models of `like`, or why there is none."""
    try:
        return Schedule(scheduler_named(name, like), STEPS)
    except AnimaticError as error:
        return error


def _draws(schedule: Schedule) -> bool:
    """Whether another seed leads elsewhere from the same sample."""
    ends = []
    for seed in (0, 1):
        # the seed is read from the noise
        schedule = schedule.again()
        noise = torch.randn(1, 4, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
        schedule.start(noise)
        x = torch.ones(1, 4, 1, 4, 4)
        for step in schedule:
            if not step.clean:
                x = schedule.advance(x, 0.1 * x, step)
        ends.append(x)
    return not torch.allclose(*ends)
