"""Windows in time: a long video is denoised in overlapping windows whose predictions are averaged.

MultiDiffusion (Bar-Tal et al. 2023, arXiv 2302.08113, https://github.com/omerbt/MultiDiffusion) over time, as in
Gen-L-Video (Wang et al. 2023, arXiv 2305.18264, https://github.com/G-U-N/Gen-L-Video), with the prompts and the
schedule of DiTCtrl (Cai et al. 2025, arXiv 2412.18597, https://github.com/TencentARC/DiTCtrl). Predictions are
averaged, not solver steps, so that one solver of any kind serves the whole video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..core.control import Control, Run, bound
from ..core.types import Branch, Conditioning, Denoise, Span, Step
from ..errors import AnimaticError
from ..timeline import Timeline
from ..window_plan import Window
from .windowed_maps import WindowedMaps, frames_of

Source = Literal["", "previous", "chained", "first"]
WindowBranch = tuple[Branch, int]  # a branch of one window, and how many times its prediction counts
WindowPass = tuple[int, bool, int]  # window, whether it reads its source, how many times its prediction counts


@dataclass
class Windows(Control):
    """Each window is denoised with its own prompts; predictions are averaged, weighted by `profile`.

    The windows are those of the run's stories, see `window_plan.WindowPlan`; single scenes are denoised whole. Put it
    after guidance and energies, before `ShareKV`. The text of its conditioning is that of all prompts of a story in one
    sequence (`[branch, prompt * token, channel]`); token positions of map requests count in that sequence.

    `profile`: the weight of a window's frames, rising towards its middle ("triangle") or constant ("flat"). `source`:
    whose keys and values a window reads: none (""); those of the "previous" window as it is without reading (DiTCtrl:
    the predictions with and without reading are averaged); those of the previous window with reading ("chained"); or
    those of the "first" window. `during`: the part of the run in which they are read, [from, to). With `pairs` each
    window is evaluated together with the next, DiTCtrl's own order; without it the prediction is the same and each
    window is evaluated once. `batch`: how many windows are evaluated together.
    """

    profile: Literal["triangle", "flat"] = "triangle"
    source: Source = ""
    during: Span = (2 / 50, 25 / 50)  # DiTCtrl
    pairs: bool = False
    batch: Annotated[int, Field(ge=1)] = 4
    stands_around = frozenset({"ShareKV"})
    only_one = True
    _timelines: Sequence[Timeline] = bound(default=())

    def begin(self, run: Run) -> Control:
        """Raises `AnimaticError` where stories of one batch differ in their windows, or do not cover the sample."""
        timelines = run.timelines
        if not timelines:
            return Control()

        # samples of a batch are cut at the same frames; their prompts may change at others
        grids = set()
        for timeline in timelines:
            plan = timeline.plan
            firsts = tuple(window.first for window in plan.windows)
            grids.add((plan.frames, plan.size, firsts))
        if len(grids) != 1 or len(timelines) != len(run.scenes):
            raise AnimaticError("stories of one batch must have windows at the same frames")

        planned = timelines[0].plan.frames
        frames = run.x.shape[2]
        if planned != frames:
            raise AnimaticError(f"the windows cover {planned} frames; the sample has {frames}")
        return self.over(timelines)

    def over(self, timelines: Sequence[Timeline]) -> Windows:
        """The control with the windows of these stories, one a sample."""
        own = copy(self)
        own._timelines = timelines
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        size = self._timelines[0].plan.size
        profile = self._profile(size).to(x)
        by_frame = profile[:, None, None]

        # the prompts of a story, which are one sequence in the conditioning: [branch, prompt, token, channel]
        prompts = max(len(timeline.scenes) for timeline in self._timelines)
        text = cond.text.unflatten(1, (prompts, -1))
        maps = None
        if cond.map_request is not None:
            tokens_per_prompt = text.shape[2]
            maps = WindowedMaps(cond.map_request, tokens_per_prompt, x.shape[2])

        total = torch.zeros_like(x)
        weight = x.new_zeros(x.shape[2])
        calls = self._calls(step, cond.branches)
        for i, call in enumerate(calls):
            # evaluate the windows of this call; `parents` are the indices of the whole videos' branches
            branches = tuple(branch for branch, _ in call)
            parents = [cond.branches.index(_whole(branch)) for branch in branches]
            texts = []
            latents = []
            for parent, branch in zip(parents, branches, strict=True):
                texts.append(_mixed(text[parent], branch))
                latents.append(x[parent, :, frames_of(branch, size)])
            extra = {name: value[parents] for name, value in cond.extra.items()}
            request = None if maps is None else maps.request_for(parents)
            reused = _read_by_later(calls[i + 1 :])
            windowed = replace(
                cond, text=torch.stack(texts), branches=branches, extra=extra, map_request=request, reused=reused
            )
            predictions = inner(torch.stack(latents), step, windowed)

            # add them up: every branch has the same windows, so that weights are summed for the first alone
            for prediction, parent, (branch, times) in zip(predictions, parents, call, strict=True):
                frames = frames_of(branch, size)
                total[parent, :, frames] += times * by_frame * prediction
                if parent == 0:
                    weight[frames] += times * profile
            if maps is not None and request is not None:
                maps.add(request, parents, branches, profile)

        if maps is not None:
            maps.finish()
        return total / weight[:, None, None]

    def _profile(self, size: int) -> Tensor:
        """Weight of each frame of a window: min(u, 2 - u), u = 2 (j + 1/2) / size (DiTCtrl), or 1."""
        if self.profile == "flat":
            return torch.ones(size)

        # u is 1 in the middle of the window
        centres = torch.arange(size) + 0.5
        u = 2 * centres / size
        return torch.minimum(u, 2 - u)

    def _calls(self, step: Step, branches: Sequence[Branch]) -> list[list[WindowBranch]]:
        """The window branches of each call of the network, for the branches of whole videos."""
        reading = step.within(self.during)
        calls = []
        for passes in self._passes(reading):
            call = []
            for window, reads, times in passes:
                call += [(self._branch(branch, window, reads), times) for branch in branches]
            calls.append(call)
        return calls

    def _passes(self, reading: bool) -> Iterator[list[WindowPass]]:
        """The windows of each call of the network; `reading`: whether the step is one in which sources are read."""
        count = len(self._timelines[0].plan.windows)
        # DiTCtrl's own order: every inner window is evaluated twice
        if self.pairs and count > 1:
            for k in range(count - 1):
                yield [(k, False, 1), (k + 1, reading, 1)]
            return

        # every window once, so many in a call
        for first in range(0, count, self.batch):
            windows = range(first, min(first + self.batch, count))
            if self.source == "previous":
                yield from self._averaged_passes(windows, count, reading)
            else:
                # the first window has none before it
                reads = reading and self.source != ""
                yield [(k, reads and k > 0, 1) for k in windows]

    def _averaged_passes(self, windows: range, count: int, reading: bool) -> Iterator[list[WindowPass]]:
        """The passes of `windows`, of `count`, equal to DiTCtrl's pairs: inner windows count twice, the ends once.

        Where sources are read an inner window is evaluated without and with reading, and the last one with it.
        """
        inner = [k for k in windows if 0 < k < count - 1]
        if not reading:
            yield [(k, False, 2 if k in inner else 1) for k in windows]
            return

        last = count - 1
        yield [(k, k == last and k > 0, 1) for k in windows]
        if inner:
            yield [(k, True, 1) for k in inner]

    def _branch(self, whole: Branch, k: int, reads: bool) -> Branch:
        """The branch of window `k` of a sample, which reads its source or not."""
        branch = self._unshared(whole, k)
        if not reads or not self.source:
            return branch

        # "chained": the source reads its own source, and so on back to the first window
        source = self._unshared(whole, 0)
        if self.source == "previous":
            source = self._unshared(whole, k - 1)
        elif self.source == "chained":
            for i in range(1, k):
                source = replace(self._unshared(whole, i), kv_source=source)
        return replace(branch, kv_source=source)

    def _unshared(self, whole: Branch, k: int) -> Branch:
        """The branch of window `k` that attends to its own keys and values."""
        window = self._window(whole, k)
        return replace(whole, first_frame=window.first, prompt_weights=window.prompt_weights)

    def _window(self, whole: Branch, k: int) -> Window:
        """Window `k` of a sample. In negative branches it has the one prompt that weighs most, as in DiTCtrl."""
        window = self._timelines[whole.shown].plan.windows[k]
        if not whole.negative:
            return window
        # of two that weigh the same, the later
        heaviest, _ = max(window.prompt_weights, key=lambda pair: (pair[1], pair[0]))
        return replace(window, prompt_weights=((heaviest, 1.0),))


def _whole(branch: Branch) -> Branch:
    """The branch of the whole video that a window's branch is a part of."""
    return Branch(branch.negative, branch.sample, story=branch.story)


def _read_by(branch: Branch) -> set[Branch]:
    """Branches of earlier calls that a branch can reuse: its source, and itself up to the first layer that reads."""
    if branch.kv_source is None:
        return set()
    return {branch.kv_source, replace(branch, kv_source=None)}


def _read_by_later(calls: Sequence[Sequence[WindowBranch]]) -> frozenset[Branch]:
    """The branches that these calls of the network will read."""
    read: set[Branch] = set()
    for call in calls:
        for branch, _ in call:
            read |= _read_by(branch)
    return frozenset(read)


def _mixed(text: Tensor, branch: Branch) -> Tensor:
    """The mean of `text` `[prompt, token, channel]` by the branch's prompt weights: `[token, channel]`."""
    # one prompt as it is, without a rounding of its own
    weights = branch.prompt_weights
    if len(weights) == 1:
        prompt, _ = weights[0]
        return text[prompt]

    none = torch.zeros_like(text[0])
    parts = (weight * text[prompt] for prompt, weight in weights)
    return sum(parts, none)
