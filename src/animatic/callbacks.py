"""Callbacks: what `generation.generate` reports while it runs. Override what is of interest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import AnimaticError

if TYPE_CHECKING:
    from .core.control import Control
    from .scene import Scene
    from .timeline import Timeline
    from .video import Video

RENDERING, FINISHING = "rendering", "finishing"  # tasks


class Callback:
    """Reports of one generation. Every default does nothing.

    class Print(Callback):
        def on_progress(self, task, done, count):
            print(task, done, "of", count)

    animatic.generate(request, callbacks=[Print()])
    """

    def controls(self, controls: list[Control], shown: Sequence[Scene | Timeline]) -> list[Control]:
        """The controls of the run, those of the method among them; observers are put before them.

        `shown` is the scene of each sample, or the timeline of its story, in the method's wording.
        """
        return controls

    def on_progress(self, task: str, done: int, count: int) -> None:
        """`done` of `count` steps of a task: "rendering", then "finishing" stage by stage."""

    def on_note(self, message: str) -> None:
        """One line about what was done, or done otherwise than requested."""

    def on_render(self, video: Video) -> None:
        """The video before its finishing stages, where there are any."""


@dataclass
class OnProgress(Callback):
    """Calls `tick(done, count)`, of every task in its turn."""

    tick: Callable[[int, int], None]

    def on_progress(self, task: str, done: int, count: int) -> None:
        self.tick(done, count)


@dataclass
class Observe(Callback):
    """Puts controls that observe (previews, attention maps) before those of the method."""

    observers: Sequence[Control]

    def controls(self, controls: list[Control], shown: Sequence[Scene | Timeline]) -> list[Control]:
        return [*self.observers, *controls]


@dataclass
class Callbacks(Callback):
    """Several callbacks as one; controls of the first are outermost."""

    each: Sequence[Callback]

    def controls(self, controls: list[Control], shown: Sequence[Scene | Timeline]) -> list[Control]:
        for callback in reversed(self.each):
            controls = callback.controls(controls, shown)
        if self.each:
            from .controls.watching import Progress

            controls = [Progress(partial(self.on_progress, RENDERING)), *controls]
        return controls

    def on_progress(self, task: str, done: int, count: int) -> None:
        for callback in self.each:
            callback.on_progress(task, done, count)

    def on_note(self, message: str) -> None:
        for callback in self.each:
            callback.on_note(message)

    def on_render(self, video: Video) -> None:
        for callback in self.each:
            callback.on_render(video)


StepFunction: TypeAlias = Callable[[int, int, Any], object]
Watcher: TypeAlias = "Callback | Control | StepFunction"
Watchers: TypeAlias = "Watcher | Sequence[Watcher]"


def together(callbacks: Watchers) -> Callbacks:
    """Callbacks as one. A control among them observes; a function is called as `OnStep` calls it.

    Raises `AnimaticError` where one is none of these.
    """
    several = callbacks if isinstance(callbacks, Sequence) else [callbacks]
    return Callbacks([_callback(each) for each in several])


def _callback(given: Watcher) -> Callback:
    # here: commands have callbacks before they need torch
    from .controls.watching import OnStep
    from .core.control import Control

    if isinstance(given, Callback):
        return given
    if isinstance(given, Control):
        return Observe([given])
    if isinstance(given, type) or not callable(given) or not _takes_three(given):
        wanted = "a Callback, a Control, or a function of (step, total, latents)"
        raise AnimaticError(f"callback is {repr(given)[:60]}; want {wanted}")
    return Observe([OnStep(given)])


def _takes_three(function: Callable[..., object]) -> bool:
    """Whether a function can be called with three values; those written in C may not say so."""
    try:
        inspect.signature(function).bind(0, 0, 0)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
