"""Attention maps of a long video that is denoised in windows: the mean of those of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..core.types import AttentionMapRequest, Branch


@dataclass
class WindowedMaps:
    """A map request answered window by window: a token's map is the mean over the windows that have its prompt.

    In frames where no window has the prompt the map is 0. `request`: of the whole videos. `tokens_per_prompt`: tokens
    of one prompt of the story. `frames`: latent frames of the whole video.
    """

    request: AttentionMapRequest
    tokens_per_prompt: int
    frames: int
    total: dict[str, Tensor] = field(default_factory=dict)
    weight: dict[str, Tensor] = field(default_factory=dict)

    def request_for(self, parents: Sequence[int]) -> AttentionMapRequest:
        """The request of windows, whose text is one prompt long, for the whole videos' branches `parents`."""
        tokens = self.request.tokens[parents]
        within = tokens % self.tokens_per_prompt
        return replace(self.request, tokens=within, found={})

    def add(
        self, windowed: AttentionMapRequest, parents: Sequence[int], branches: Sequence[Branch], profile: Tensor
    ) -> None:
        """Add the maps of one call, weighted by `profile` `[frame]`."""
        for name, maps in windowed.found.items():
            # sums over the whole video, made when a layer first answers
            size, *rest = maps.shape[1:]  # rest: head, height, width, token
            rows = len(self.request.tokens)
            if name not in self.total:
                self.total[name] = maps.new_zeros(rows, self.frames, *rest)
                self.weight[name] = maps.new_zeros(rows, self.frames, rest[-1])
            total = self.total[name]
            weight = self.weight[name]
            by_frame = profile[:, None].to(maps)

            for i, (parent, branch) in enumerate(zip(parents, branches, strict=True)):
                # a token counts in the windows that are conditioned on its prompt
                prompts = [prompt for prompt, _ in branch.prompt_weights]
                of_window = torch.tensor(prompts, device=maps.device)
                prompt_of_token = self.request.tokens[parent] // self.tokens_per_prompt
                present = torch.isin(prompt_of_token, of_window)
                scale = by_frame * present  # [frame, token]

                frames = frames_of(branch, size)
                total[parent, frames] += maps[i] * scale[:, None, None, None]
                weight[parent, frames] += scale

    def finish(self) -> None:
        """Store the means in the request of the whole videos."""
        for name, total in self.total.items():
            # frames in which no window has the prompt: 0, not 0 / 0
            weight = self.weight[name].clamp(min=1e-6)
            mean = total / weight[:, :, None, None, None]
            self.request.found.setdefault(name, mean)


def frames_of(branch: Branch, size: int) -> slice:
    """The latent frames of a window."""
    return slice(branch.first_frame, branch.first_frame + size)
