"""Reuse of features between neighbouring noise levels, in the part of a run that nothing guides: `--fast`.

What an inner layer of a network computes changes little from one noise level to the next, so that it is kept and read
again instead (DeepCache, Ma et al. 2023, arXiv 2312.00858; TeaCache, Liu et al. 2024, arXiv 2411.19108). Predictions
are then not exact, which is why nothing is reused unless somebody asks for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import torch

from .control import Control
from .types import Branch, Conditioning, Step

CallKey = tuple[tuple[Branch, ...], int]
"""A call of the network that comes again at every level: its branches, and its number among calls of the same."""

FIRST = 0.25  # fraction of the noise levels before which nothing is reused: they decide where things are
GUIDED = ("until", "frozen")  # fields of controls that say up to which fraction of the noise levels they take part


class FeatureCache(ABC):
    """The features of one run, and how often they were reused.

    `technique`: what is reused, with its paper, for the report. `running` stands around a run, `around` around every
    evaluation of the network in it. A pass takes part where it is of the unguided levels, has no gradients, requests
    no attention maps, and shares no keys and values with other passes; every other pass is exact.
    """

    technique: ClassVar[str]

    def __init__(self) -> None:
        self.passes = 0  # of the run
        self.reused = 0
        self.first = FIRST
        self.reader = ""  # the class of a control that reads every attention layer
        self._level = -1  # index of the noise level of the last call
        self._calls: Counter[tuple[Branch, ...]] = Counter()  # of that level, by their branches

    @contextmanager
    def running(self, controls: Sequence[Control]) -> Iterator[None]:
        """The run of these controls; the features are forgotten after it."""
        self.passes = 0
        self.reused = 0
        self.first = max(FIRST, guided_until(controls))
        readers = [type(control).__name__ for control in controls if control.reads_attention]
        self.reader = next(iter(readers), "")
        self._level = -1
        try:
            yield
        finally:
            self.forget()

    @contextmanager
    def around(self, step: Step, cond: Conditioning) -> Iterator[None]:
        """One evaluation of the network, with reused features where it takes part."""
        self.passes += 1
        if not self._takes_part(step, cond):
            self.forget()  # what was kept is of another noise level than the next pass will need
            yield
            return
        with self.serving(step, self._key(step, cond)):
            yield

    def _key(self, step: Step, cond: Conditioning) -> CallKey:
        # several calls of one level may have the same branches, such as those of tiles: they are numbered
        if step.index != self._level:
            self._level = step.index
            self._calls.clear()
        self._calls[cond.branches] += 1
        return cond.branches, self._calls[cond.branches]

    def _takes_part(self, step: Step, cond: Conditioning) -> bool:
        if self.reader or torch.is_grad_enabled() or cond.map_request is not None or step.fraction < self.first:
            return False
        shares = any(branch.kv_source is not None for branch in cond.branches)
        return not (shares or cond.reused)

    @abstractmethod
    def serving(self, step: Step, key: CallKey) -> AbstractContextManager[None]:
        """A pass that takes part: keeps features, or reads those of the same `key` and counts it in `reused`."""

    @abstractmethod
    def forget(self) -> None:
        """Leave the network as it was, with nothing kept."""

    @property
    def report(self) -> str:
        """One line: what was reused, or why nothing was."""
        if self.reused:
            return f"fast: {self.technique} in {self.reused} of {self.passes} passes; frames differ from the exact ones"
        if self.reader:
            return f"fast changed nothing: {self.reader} reads the attention of every pass"
        reason = f"no pass after the first {self.first:.0%} of the steps could reuse another's features"
        return f"fast changed nothing: {reason}"


def guided_until(controls: Sequence[Control]) -> float:
    """The fraction of the noise levels up to which any of these controls guides; 0 where none has an end."""
    return max(map(_until, controls), default=0.0)


def _until(part: Any) -> float:
    """`guided_until` of a control, and of the controls among its fields, such as the energy of a composition."""
    last = 0.0
    for each in fields(part) if is_dataclass(part) else ():
        value = getattr(part, each.name, None)
        if each.name in GUIDED and isinstance(value, int | float):
            last = max(last, value)
        # tuples of controls are of another run, such as that of a composition's objects
        elif isinstance(value, Control):
            last = max(last, _until(value))
    return last
