"""Several text encoders that read the same prompt, as in Stable Diffusion XL and 3.

Podell et al. 2023, https://arxiv.org/abs/2307.01952; Esser et al. 2024, https://arxiv.org/abs/2403.03206.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from ..core.text import ClipText, T5Text

AnyText = TypeVar("AnyText", bound=ClipText)


class PenultimateText(ClipText):
    """A CLIP encoder whose token states are the last hidden states but one; pooled is its projected embedding."""

    def states(self, ids: Tensor) -> Tensor:
        return self.encoder(input_ids=ids.to(self._device), output_hidden_states=True).hidden_states[-2]

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        return self.encoder(input_ids=self._first(phrases).to(self._device)).text_embeds

    @property
    def projects(self) -> bool:
        """Whether it has a projected embedding."""
        return hasattr(self.encoder, "text_projection")


class TextPair(ClipText):
    """Two CLIP encoders, their states concatenated along channels, and the pooled embeddings of those that project.

    Each reads with its own tokenizer. Both have CLIP's words, so that a phrase has the same positions in both.
    """

    def __init__(self, first: PenultimateText, second: PenultimateText) -> None:
        super().__init__(first.name, first.tokenizer, first.encoder, first.limit)
        self.first = first
        self.second = second

    @property
    def encoders(self) -> tuple[PreTrainedModel, ...]:
        return self.first.encoder, self.second.encoder

    def forward(self, prompts: Sequence[str]) -> Tensor:
        return torch.cat([part(prompts) for part in self._parts()], -1)

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        encoded = [part.in_chunks(prompts) for part in self._parts()]

        # Where one has a chunk more, the other has an empty one: the tokenizers differ in "!".
        most = max(states.shape[1] for states in encoded)
        filled = []
        for part, states in zip(self._parts(), encoded, strict=True):
            missing = (most - states.shape[1]) // self.limit
            empty = part([""] * len(prompts)) if missing else states[:, :0]
            filled.append(torch.cat([states, *[empty] * missing], 1))
        return torch.cat(filled, -1)

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        return torch.cat([part.pooled(phrases) for part in self._parts() if part.projects], -1)

    def _parts(self) -> list[PenultimateText]:
        return [as_cut(part, self.truncate) for part in (self.first, self.second)]


class TextSequence(ClipText):
    """A pair of CLIP encoders and T5, one after the other along tokens, as Stable Diffusion 3 reads them.

    CLIP reads the first 77 tokens of a prompt, which a warning says; T5 reads `t5.limit`, and longer prompts are
    refused, or cut where `truncate` is set. CLIP's channels are padded with zeros. A phrase has its positions in both.
    """

    chunked = False

    def __init__(self, clip: TextPair, t5: T5Text) -> None:
        super().__init__(clip.name, clip.tokenizer, clip.encoder, clip.limit + t5.limit)
        self.clip = as_cut(clip, True)
        self.t5 = t5

    @property
    def encoders(self) -> tuple[PreTrainedModel, ...]:
        return *self.clip.encoders, self.t5.encoder

    def forward(self, prompts: Sequence[str]) -> Tensor:
        by_t5 = as_cut(self.t5, self.truncate)(prompts)
        by_clip = self.clip(prompts).to(by_t5)
        padding = by_t5.shape[-1] - by_clip.shape[-1]
        return torch.cat([F.pad(by_clip, (0, padding)), by_t5], 1)

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        return self.clip.pooled(phrases)

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        return self(prompts)

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        in_t5 = as_cut(self.t5, self.truncate).positions(prompt, phrase)
        after_clip = tuple(self.clip.limit + position for position in in_t5)
        return (*self.clip.positions(prompt, phrase), *after_clip)

    def token_ids(self, prompt: str) -> list[int]:
        in_clip = self.clip.tokens([prompt])[0].tolist()
        return [*in_clip, *as_cut(self.t5, self.truncate).token_ids(prompt)]


def as_cut(part: AnyText, truncate: bool) -> AnyText:
    """A copy of a text encoder that cuts longer prompts or not, with the same weights."""
    own = copy(part)
    own.truncate = truncate
    return own
