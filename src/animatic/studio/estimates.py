"""What a render would take, before it begins: memory as `animatic.rehearse` counts it, time as renders here went."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..backbones.skeleton import skeleton
from ..binding import needs_windows
from ..callbacks import RENDERING, Callback
from ..core.backbone import Backbone
from ..core.setting_values import Value
from ..durations import clip_frames
from ..errors import AnimaticError
from ..methods import method_named
from ..methods.method import ANY
from ..methods.settings import tuned
from ..rehearsal import Rehearsal, rehearse
from ..request import GenerationRequest

KEPT = 64  # rehearsals and measurements that are remembered, the newest


@dataclass(frozen=True)
class Setup:
    """What decides the memory and the seconds a step of a render.

    `frames` are those of one clip; of a video in windows they are None, and `seconds` is its length. `objects`: the
    most boxes of a scene. `guidance`: the requested scale, at which 1 has no second branch. `fast`: features are reused
    between steps. `loras` are those of the request: they take memory while they are added, and no time of a step,
    whatever their strength.
    """

    model: str
    method: str
    settings: tuple[tuple[str, Value], ...]
    frames: int | None
    seconds: float | None
    size: tuple[int, int]
    objects: int
    guidance: float | None = None
    fast: bool = False
    loras: tuple[tuple[str, float, str], ...] = ()

    @staticmethod
    def of(request: GenerationRequest, model: Backbone) -> Setup:
        """The setup of a request on its model, which may be without weights."""
        sampling = request.sampling
        geometry = model.geometry
        frames, seconds = None, None
        if needs_windows(request.story, model, sampling.frames):
            seconds = sum(scene.seconds for scene in request.story)
        else:
            frames = clip_frames(request.story, geometry, sampling.frames)
        return Setup(
            model=request.model,
            method=request.method,
            settings=tuple(sorted(request.settings.items())),
            frames=frames,
            seconds=seconds,
            size=sampling.size or (geometry.width, geometry.height),
            objects=max(1, *(len(scene.tracks) for scene in request.story), 1),
            guidance=sampling.guidance,
            fast=sampling.fast,
            loras=tuple((file, 1.0, network) for file, _, network in request.loras),
        )


class StepTimer(Callback):
    """Measures the seconds a step of renders; loading, decoding at the end and finishing stages do not count.

    `seconds` are those of the last render that was followed to its end, None before there is one.
    """

    def __init__(self) -> None:
        self.began = 0.0
        self.seconds: float | None = None

    def on_progress(self, task: str, done: int, count: int) -> None:
        if task != RENDERING:
            return
        if done == 0:
            self.began = time.monotonic()
        elif done == count:
            self.seconds = (time.monotonic() - self.began) / count


class Estimates:
    """Rehearsals and measurements of one session. Safe to use from several threads."""

    def __init__(self) -> None:
        self._rehearsed: dict[Setup, Rehearsal] = {}
        self._measured: dict[Setup, float] = {}  # seconds a step
        self._counting = threading.Lock()  # one rehearsal at a time: that of a large model takes half a minute
        self._open = True

    def close(self, patience: float) -> bool:
        """Begin no more rehearsals; False where the one at hand is not over within `patience` seconds.

        At the end of the process torch takes its operators away, which a rehearsal must not be in the middle of.
        """
        self._open = False
        if not self._counting.acquire(timeout=patience):
            return False
        self._counting.release()
        return True

    def measured(self, setup: Setup, seconds: float) -> None:
        """Remember the seconds a step of a render that was made; the newest replaces the one before."""
        self._measured.pop(setup, None)
        _remember(self._measured, setup, seconds)

    def rehearsed(self, setup: Setup) -> Rehearsal:
        """The rehearsal of a setup, with the model's own number of steps; its `seconds` and `free` say nothing.

        Raises `AnimaticError` where the model is not covered, does not make such a clip, or does not run the method.
        """
        with self._counting:
            if setup not in self._rehearsed:
                if not self._open:
                    raise AnimaticError("the studio is closing; want another one")
                method = method_named(setup.method)
                if setup.settings:
                    method = tuned(method, dict(setup.settings), skeleton(setup.model).model)
                if setup.guidance is not None:
                    method = replace(method, guidance={ANY: setup.guidance})

                # speed 1: measuring the device would hold up the job at hand
                rehearsal = rehearse(
                    setup.model, method, frames=setup.frames, size=setup.size, objects=setup.objects,
                    seconds=setup.seconds, speed=1.0, loras=setup.loras,
                )  # fmt: skip
                _remember(self._rehearsed, setup, rehearsal)
            return self._rehearsed[setup]

    def step_seconds(self, setup: Setup) -> float | None:
        """Seconds that a step takes: as measured, else as the model's last render by the operations of both.

        None where the model has not rendered in this session, or its operations cannot be counted.
        """
        if setup in self._measured:
            return self._measured[setup]

        # reused features are operations that a rehearsal counts and the render leaves out
        known = [each for each in list(self._measured) if (each.model, each.fast) == (setup.model, setup.fast)]
        if not known:
            return None
        try:
            before, now = self.rehearsed(known[-1]), self.rehearsed(setup)
        except AnimaticError:
            return None
        per_step = [each.flops / each.steps for each in (before, now)]
        return self._measured[known[-1]] * per_step[1] / per_step[0]


def _remember(kept: dict[Setup, Any], setup: Setup, value: Any) -> None:
    """Add a value as the newest; the oldest beyond `KEPT` are forgotten."""
    kept[setup] = value
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)))


def estimated(
    estimates: Estimates, requests: Sequence[GenerationRequest], seeds: int, model: Backbone, loaded: bool, room: int
) -> dict[str, Any]:
    """What a job of these requests takes, each from so many seeds; see the endpoint `estimate`.

    `loaded`: whether the weights of `model` are in memory. `room`: bytes that a job may take.
    """
    setups = [Setup.of(request, model) for request in requests]
    found: dict[str, Any] = {"memory": None, "weights": None, "free": room, "fits": None, "reason": ""}
    try:
        # LoRAs of a model that is loaded are in its weights
        counted = [replace(setup, loras=()) for setup in setups] if loaded else setups
        rehearsals = [estimates.rehearsed(setup) for setup in counted]
    except AnimaticError as error:
        found["reason"] = str(error)
    else:
        # weights that are loaded are no longer part of what is free
        weights = max(sum(each.weights.values()) for each in rehearsals)
        memory = max(each.peak for each in rehearsals)
        needed = memory - weights if loaded else memory
        found |= {"memory": memory, "weights": weights, "fits": needed <= room}

    # of the whole job, where all of it is known
    seconds = 0.0
    for setup, request in zip(setups, requests, strict=True):
        per_step = estimates.step_seconds(setup)
        if per_step is None:
            return {**found, "seconds": None}
        steps = request.sampling.steps or model.defaults.steps
        seconds += per_step * steps * seeds
    return {**found, "seconds": seconds}
