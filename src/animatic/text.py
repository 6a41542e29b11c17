"""Prompts to token states, and phrases to token positions (by the tokenizer's offsets, never as substrings)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .english import plurals
from .errors import AnimaticError
from .scene import Scene


class ClipText(nn.Module):
    """A tokenizer and its CLIP text encoder. `name` is the model's, for messages; `limit` in tokens, 0 is its own."""

    def __init__(self, name: str, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, limit: int = 0) -> None:
        super().__init__()
        self.name, self.tokenizer, self.encoder = name, tokenizer, encoder
        self.limit = limit or min(tokenizer.model_max_length, encoder.config.max_position_embeddings)

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Token ids `[prompt, limit]`, padded. Raises where a prompt is too long: nothing is cut silently."""
        for prompt in prompts:
            count = len(self.tokenizer(prompt)["input_ids"])
            if count > self.limit:
                start = prompt[:40] + "…"
                raise AnimaticError(f"prompt {start!r} has {count} tokens; {self.name} reads at most {self.limit}")
        padded = self.tokenizer(list(prompts), padding="max_length", max_length=self.limit, return_tensors="pt")
        return padded["input_ids"]

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Token states `[prompt, limit, channel]`."""
        device = next(self.encoder.parameters()).device
        return self.encoder(input_ids=self.tokens(prompts).to(device)).last_hidden_state

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        """The encoder's summary of each phrase, its state at the end token: `[phrase, channel]`."""
        weight = next(self.encoder.parameters())
        if not phrases:
            return weight.new_zeros(0, self.encoder.config.hidden_size)
        return self.encoder(input_ids=self.tokens(phrases).to(weight.device)).pooler_output

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        """Positions of the tokens of `phrase` in `prompt`; empty where it is not there."""
        span = find(prompt, phrase)
        if span is None:
            return ()
        offsets = self.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
        return tuple(i for i, (a, b) in enumerate(offsets) if a < b and a < span[1] and b > span[0])


class T5Text(ClipText):
    """A tokenizer and its T5 or UMT5 encoder, reading `limit` tokens.

    `masked` (Wan): padding is not attended to and its states are zero; CogVideoX learnt with padding in sight.
    """

    def __init__(
        self, name: str, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, limit: int, masked: bool = False
    ) -> None:
        super().__init__(name, tokenizer, encoder, limit)
        self.masked = masked

    def forward(self, prompts: Sequence[str]) -> Tensor:
        ids = self.tokens(prompts).to(next(self.encoder.parameters()).device)
        if not self.masked:
            return self.encoder(input_ids=ids).last_hidden_state
        padding: Any = self.tokenizer.pad_token_id
        mask = ids.ne(padding)
        states = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states * mask[..., None].to(states.device)  # weights that wait elsewhere answer where they compute


def find(prompt: str, phrase: str) -> tuple[int, int] | None:
    """Where whole words of `prompt` name `phrase`: as it stands or in the plural, else its last word likewise."""
    words = phrase.split()
    for wanted in (phrase.strip(), words[-1]):
        for form in (wanted, *plurals(wanted)):
            hit = re.search(rf"(?<!\w){re.escape(form)}(?!\w)", prompt, re.IGNORECASE)
            if hit:
                return hit.span()
    return None


def told(scene: Scene) -> str:
    """What a model is told of a scene: the prompt, the background, and any phrase that they do not name.

    LVD adds ", {keyword} background"; LMD adds missing phrases after a bar.
    """
    words = scene.prompt.strip().rstrip(".")
    if scene.background and find(words, scene.background) is None:
        words += f", {scene.background} background"
    for phrase in dict.fromkeys(track.phrase for track in scene.tracks):
        if find(words, phrase) is None:
            words += f", {phrase}"
    return words
