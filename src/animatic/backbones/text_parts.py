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
    """A CLIP encoder whose token states are the last hidden states but one; pooled is its projected embedding, if any.

    Without a projection it is the pooled state.
    """

    def states(self, ids: Tensor) -> Tensor:
        return self.encoder(input_ids=ids.to(self._device), output_hidden_states=True).hidden_states[-2]

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        if not self.projects or not phrases:
            return super().pooled(phrases)
        ids = self._first(phrases).to(self._device)
        return self.encoder(input_ids=ids).text_embeds

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
        self.second = second

    @property
    def encoders(self) -> tuple[PreTrainedModel, ...]:
        return self.encoder, self.second.encoder

    def forward(self, prompts: Sequence[str]) -> Tensor:
        states = [part(prompts) for part in self.parts()]
        return torch.cat(states, -1)

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        parts = self.parts()
        encoded = [part.in_chunks(prompts) for part in parts]

        # Where one has a chunk more, the other has an empty one: the tokenizers differ in "!".
        most = max(states.shape[1] for states in encoded)
        filled = []
        for part, states in zip(parts, encoded, strict=True):
            while states.shape[1] < most:
                empty = part([""] * len(prompts))
                states = torch.cat([states, empty], 1)
            filled.append(states)
        return torch.cat(filled, -1)

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        embeddings = [part.pooled(phrases) for part in self.parts() if part.projects]
        return torch.cat(embeddings, -1)

    def phrase_embeddings(self, phrases: Sequence[str]) -> Tensor:
        """Both pooled embeddings, as IGLIGEN-XL's pipeline encodes phrases (https://github.com/jiuntian/igligen-xl)."""
        embeddings = [part.pooled(phrases) for part in self.parts()]
        return torch.cat(embeddings, -1)

    def parts(self) -> tuple[PenultimateText, PenultimateText]:
        """Both encoders, which cut prompts if this does."""
        # The first is a view: its weights are registered here, once.
        first = PenultimateText(self.name, self.tokenizer, self.encoder)
        first.expand = self.expand
        return cutting(first, self.truncate), cutting(self.second, self.truncate)


class TextSequence(TextPair):
    """A pair of CLIP encoders and T5, one after the other along tokens, as Stable Diffusion 3 reads them.

    CLIP reads the first 77 tokens of a prompt, which a warning says; T5 reads `t5.limit`, and longer prompts are
    refused, or cut where `truncate` is set. CLIP's channels are padded with zeros. A phrase has its positions in both.
    """

    chunked = False

    def __init__(self, first: PenultimateText, second: PenultimateText, t5: T5Text) -> None:
        super().__init__(first, second)
        self.t5 = t5
        self.limit = first.limit + t5.limit

    @property
    def encoders(self) -> tuple[PreTrainedModel, ...]:
        return *super().encoders, self.t5.encoder

    def forward(self, prompts: Sequence[str]) -> Tensor:
        by_t5 = self._t5()(prompts)
        by_clip = self._clip()(prompts).to(by_t5)

        # CLIP's states have fewer channels.
        missing = by_t5.shape[-1] - by_clip.shape[-1]
        padded = F.pad(by_clip, (0, missing))
        return torch.cat([padded, by_t5], 1)

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        return self(prompts)

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        return self._clip().pooled(phrases)

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        clip = self._clip()
        in_t5 = self._t5().positions(prompt, phrase)
        after_clip = tuple(clip.limit + position for position in in_t5)
        return (*clip.positions(prompt, phrase), *after_clip)

    def token_ids(self, prompt: str) -> list[int]:
        (of_clip,) = self._clip().tokens([prompt]).tolist()
        return [*of_clip, *self._t5().token_ids(prompt)]

    def _clip(self) -> TextPair:
        pair = TextPair(PenultimateText(self.name, self.tokenizer, self.encoder), self.second)
        pair.expand = self.expand
        return cutting(pair, True)

    def _t5(self) -> T5Text:
        return cutting(self.t5, self.truncate)


def cutting(part: AnyText, truncate: bool) -> AnyText:
    """A copy of a text encoder that cuts longer prompts (or does not), with the same weights."""
    own = copy(part)
    own.truncate = truncate
    return own
