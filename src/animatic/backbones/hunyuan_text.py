"""The two text encoders of HunyuanVideo 1.5: a language model in a chat, and ByT5 for the words to be written.

Wu et al. 2025, https://arxiv.org/abs/2511.18870; Glyph-ByT5, Liu et al. 2024, https://arxiv.org/abs/2403.09622.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..core.text import ClipText, find
from ..errors import AnimaticError, warn
from .text_parts import cutting

WORD_TOKENS, GLYPH_TOKENS = 1000, 256  # that diffusers' pipeline reads; the network was trained on as many
SKIPPED_LAYERS = 2  # of the language model: the hidden states before its last two layers are read

# The system message that the network was trained with, its runs of blanks included.
SYSTEM = (9 * " ").join((
    "You are a helpful assistant. Describe the video by detailing the following aspects:",
    "1. The main content and theme of the video.",
    "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects.",
    "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects.",
    "4. background environment, light, style and atmosphere.",
    "5. camera angles, movements, and transitions used in the video.",
))  # fmt: skip
MARK = "PROMPT"  # stands for the user's words, to find where they begin
QUOTED = re.compile(r'"(.*?)"|“(.*?)”')
OPENING, CLOSING, BETWEEN = 'Text "', '"', ". "  # around quoted words, as ByT5 reads them


class FlaggedText(ClipText):
    """An encoder whose last channel says which of its states are tokens: 1, or 0 for padding, whose states are 0."""

    chunked = False

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        return self(prompts)

    def encoded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """States `[row, token, channel + 1]` of token ids, padded to the longest row."""
        longest = max(map(len, rows))
        padding: Any = self.tokenizer.pad_token_id
        ids = torch.full((len(rows), longest), padding)
        present = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            present[i, : len(row)] = 1

        states = self.masked_states(ids.to(self._device), present.to(self._device))
        flags = present[..., None].to(states)
        return torch.cat([states * flags, flags], -1)

    def masked_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States `[row, token, channel]` of ids `[row, token]`, of which those with mask 0 are not attended to."""
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    def checked(self, prompt: str, count: int) -> None:
        """Warn where a prompt of `count` tokens is cut; raise `AnimaticError` where it must not be."""
        if count <= self.limit:
            return
        problem = f"prompt {prompt[:40] + '…'!r} has {count} tokens; {self.name} reads at most {self.limit}"
        if not self.truncate:
            raise AnimaticError(problem)
        warn(f"{problem}, the rest is cut as the original cuts it")


class ChatText(FlaggedText):
    """A language model (Qwen2.5-VL) that reads a prompt as the user's words in a chat.

    `limit` tokens are kept from the prompt's first on, those of the end of the chat included. Those of the system
    message before it (108 of Qwen2's tokenizer) are encoded and cut off.
    """

    def __init__(self, name: str, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, limit: int) -> None:
        super().__init__(name, tokenizer, encoder, limit)
        chat = self._chat(MARK)
        self.letters_before = chat.rindex(MARK)
        self.tokens_before = len(self._read_chat(chat[: self.letters_before])["input_ids"])

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """`[prompt, limit, channel + 1]`. Raises where a prompt is too long, unless `truncate` is set."""
        rows = []
        for prompt in prompts:
            ids = self._read_chat(self._chat(self.expand(prompt)))["input_ids"]
            self.checked(prompt, len(ids) - self.tokens_before)
            rows.append(ids[: self.tokens_before + self.limit])

        states = self.encoded(rows)[:, self.tokens_before :]
        return F.pad(states, (0, 0, 0, self.limit - states.shape[1]))

    def masked_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        output = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        return output.hidden_states[-1 - SKIPPED_LAYERS]

    def token_ids(self, prompt: str) -> list[int]:
        ids = self._read_chat(self._chat(self.expand(prompt)))["input_ids"]
        stop = self.tokens_before + self.limit if self.truncate else None
        return ids[self.tokens_before : stop]

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        expanded = self.expand(prompt)
        span = find(expanded, self.expand(phrase))
        if span is None:
            return ()

        # The phrase within the chat, whose letters the offsets count.
        first, stop = (self.letters_before + letter for letter in span)
        offsets = self._read_chat(self._chat(expanded), return_offsets_mapping=True)["offset_mapping"]
        positions = []
        for i, (start, end) in enumerate(offsets[self.tokens_before :]):
            if start < stop and end > first and i < self.limit:
                positions.append(i)
        return tuple(positions)

    def _chat(self, prompt: str) -> str:
        """The chat up to where the model would answer; an empty prompt is a blank."""
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt or " "}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _read_chat(self, chat: str, **options: Any) -> Any:
        # The chat's own tokens begin and end its turns.
        return self.tokenizer(chat, add_special_tokens=False, verbose=False, **options)


class GlyphText(FlaggedText):
    """ByT5, which reads the words in quotes: those that are to be written in the video, a token for each byte."""

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """`[prompt, limit, channel + 1]`, all zero where nothing is quoted. Raises as `ChatText` does."""
        rows = [self.token_ids(prompt) for prompt in prompts]
        states = next(self.encoder.parameters()).new_zeros(len(rows), self.limit, self.encoder.config.d_model + 1)
        quoting = [i for i, row in enumerate(rows) if row]
        if quoting:
            for i in quoting:
                self.checked(prompts[i], len(rows[i]))
            encoded = self.encoded([rows[i] for i in quoting])
            states = states.to(encoded)
            states[quoting, : encoded.shape[1]] = encoded
        return states

    def token_ids(self, prompt: str) -> list[int]:
        quotes = quotes_in(self.expand(prompt))
        if not quotes:
            return []
        text = "".join(f"{OPENING}{quote}{CLOSING}{BETWEEN}" for quote in quotes)
        return self._read(text)["input_ids"]

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        # The tokenizer has no offsets, and needs none: a token is a byte.
        first = 0
        for quote in quotes_in(self.expand(prompt)):
            span = find(quote, self.expand(phrase))
            first += len(OPENING)
            if span is not None:
                start, stop = (first + len(quote[:letter].encode()) for letter in span)
                return tuple(range(min(start, self.limit), min(stop, self.limit)))
            first += len((quote + CLOSING + BETWEEN).encode())
        return ()


class ChatAndGlyphs(ClipText):
    """Both encoders, one after the other along tokens: glyphs, then words, of which the last channel says if present.

    A token's position is that in the network, where tokens that are present come before all padding.
    """

    chunked = False

    def __init__(self, words: ChatText, glyphs: GlyphText) -> None:
        super().__init__(words.name, words.tokenizer, words.encoder, glyphs.limit + words.limit)
        self.words = words
        self.glyphs = glyphs

    @property
    def encoders(self) -> tuple[PreTrainedModel, ...]:
        return self.words.encoder, self.glyphs.encoder

    @property
    def sizes(self) -> tuple[int, int]:
        """Tokens of glyphs and of words."""
        return self.glyphs.limit, self.words.limit

    def forward(self, prompts: Sequence[str]) -> Tensor:
        words, glyphs = (part(prompts) for part in self.parts())

        # ByT5's states have fewer channels, which the flags stay behind.
        missing = words.shape[-1] - glyphs.shape[-1]
        flags = glyphs[..., -1:]
        widened = torch.cat([F.pad(glyphs[..., :-1], (0, missing)), flags], -1)
        return torch.cat([widened.to(words), words], 1)

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        return self(prompts)

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        padding: Any = self.tokenizer.pad_token_id
        ids = torch.full((len(prompts), self.limit), padding)
        for row, prompt in zip(ids, prompts, strict=True):
            for part in self.parts():
                part.checked(prompt, len(part.token_ids(prompt)))
            own = self.token_ids(prompt)
            row[: len(own)] = torch.tensor(own)
        return ids

    def token_ids(self, prompt: str) -> list[int]:
        words, glyphs = self.parts()
        return [*glyphs.token_ids(prompt), *words.token_ids(prompt)]

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        words, glyphs = self.parts()
        before = len(glyphs.token_ids(prompt))
        of_words = tuple(before + position for position in words.positions(prompt, phrase))
        return (*glyphs.positions(prompt, phrase), *of_words)

    def parts(self) -> tuple[ChatText, GlyphText]:
        """Both encoders, which cut prompts, and expand words, if this does."""
        words, glyphs = cutting(self.words, self.truncate), cutting(self.glyphs, self.truncate)
        words.expand = glyphs.expand = self.expand
        return words, glyphs


def quotes_in(prompt: str) -> list[str]:
    """What stands in quotes in a prompt, each once."""
    found = [straight or curly for straight, curly in QUOTED.findall(prompt)]
    return list(dict.fromkeys(found))
