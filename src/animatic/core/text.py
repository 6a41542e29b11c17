"""Text encoding: prompts to token states, and phrases to token positions (by the tokenizer's offsets)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import AnimaticError, warn
from ..prompting.english import plurals

if TYPE_CHECKING:
    from .backbone import Backbone

AnyBackbone = TypeVar("AnyBackbone", bound="Backbone")
CLIP_LENGTH = 77  # tokens of CLIP's context, the start and the end token included


class ClipText(nn.Module):
    """A tokenizer and its CLIP text encoder (Radford et al. 2021, arXiv 2103.00020).

    `name`: the model's, for messages. `limit`: the longest prompt in tokens; 0 is the encoder's own. Where the encoder
    has CLIP's own length, longer prompts can be encoded in chunks (`in_chunks`). With `truncate` (see `truncating`)
    longer prompts are cut, and the words that are cut off have no positions. `expand` replaces each text before it is
    read: textual inversion writes a word of several vectors as several words.
    """

    chunked = True
    truncate = False

    def __init__(self, name: str, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, limit: int = 0) -> None:
        super().__init__()
        self.name = name
        self.tokenizer = tokenizer
        self.encoder = encoder
        self.expand: Callable[[str], str] = str

        # some tokenizers' own length is a placeholder of 1e30: the encoder's positions count too
        if not limit:
            limit = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        self.limit = limit

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Token states `[prompt, limit, channel]`. Raises where a prompt is too long, unless `truncate` is set."""
        return self.states(self.tokens(prompts))

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        """Token states `[prompt, chunk * limit, channel]` of prompts of any length, as many chunks for each.

        A chunk is `limit` - 2 tokens between a start and an end token, encoded by itself; states are concatenated, as
        in compel (https://github.com/damian0815/compel) and Stable Diffusion's web interfaces. Warns of each prompt
        that is encoded in several chunks. Raises where a prompt is too long for an encoder that is not CLIP's.
        """
        chunks = [self._chunks(prompt) for prompt in prompts]
        most = max(map(len, chunks), default=1)
        in_chunks = self.chunked and self.limit == CLIP_LENGTH
        if most == 1 or not in_chunks:
            return self(prompts)

        for prompt, own in zip(prompts, chunks, strict=True):
            if len(own) > 1:
                tokens = sum(map(len, own))
                count = f"{tokens} tokens, encoded in {len(own)} chunks"
                warn(f"prompt {_start(prompt)} has {count}: {self.name} reads {self.limit - 2} at a time")

        # shorter prompts are padded by empty chunks
        rows = []
        for own in chunks:
            missing: list[list[int]] = [[]] * (most - len(own))
            rows += [self._framed(chunk) for chunk in [*own, *missing]]

        # every chunk is a row of its own to the encoder: [prompt * chunk, limit]
        states = self.states(torch.tensor(rows))
        by_prompt = states.unflatten(0, (len(prompts), most))
        return by_prompt.flatten(1, 2)

    def states(self, ids: Tensor) -> Tensor:
        """Token states `[prompt, token, channel]` of token ids `[prompt, token]`."""
        return self.encoder(input_ids=ids.to(self._device)).last_hidden_state

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Token ids `[prompt, limit]`, padded. Raises where a prompt is too long; warns where it is cut."""
        whole = self.tokenizer([self.expand(prompt) for prompt in prompts], verbose=False)["input_ids"]
        for prompt, ids in zip(prompts, whole, strict=True):
            if len(ids) <= self.limit:
                continue
            problem = f"prompt {_start(prompt)} has {len(ids)} tokens; {self.name} reads at most {self.limit}"
            if not self.truncate:
                raise AnimaticError(problem)
            warn(f"{problem}, the rest is cut as the original cuts it")
        padded = self._read(list(prompts), padding="max_length", max_length=self.limit, return_tensors="pt")
        return padded["input_ids"]

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        """The encoder's pooled state of each phrase, that at the end token: `[phrase, channel]`.

        For a phrase longer than a chunk it is the first chunk's.
        """
        if not phrases:
            parameter = next(self.encoder.parameters())
            return parameter.new_zeros(0, self.encoder.config.hidden_size)
        ids = self._first(phrases).to(self._device)
        return self.encoder(input_ids=ids).pooler_output

    def phrase_embeddings(self, phrases: Sequence[str]) -> Tensor:
        """The embedding of each phrase as GLIGEN's layers read it, `[phrase, channel]`: the pooled state."""
        return self.pooled(phrases)

    def token_ids(self, prompt: str) -> list[int]:
        """The token ids of a prompt in the order of its states, chunk after chunk, up to the last end token."""
        chunks = self._chunks(prompt)
        if len(chunks) == 1:
            return self._read(prompt)["input_ids"]
        *whole, last = [self._framed(chunk) for chunk in chunks]

        # the last chunk without its padding: its tokens between start and end
        kept = last[: len(chunks[-1]) + 2]
        return [*chain.from_iterable(whole), *kept]

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        """Positions of the tokens of `phrase` in the states of `prompt`; () where it is not in the prompt."""
        span = find(self.expand(prompt), self.expand(phrase))
        if span is None:
            return ()

        # only fast tokenizers say which characters a token is made of
        offsets = self._read(prompt, return_offsets_mapping=True)["offset_mapping"]

        positions = []
        for i, (first, stop) in enumerate(offsets):
            empty = first >= stop  # start, end and padding tokens
            if not empty and first < span[1] and stop > span[0]:
                positions.append(self._position(i))
        return tuple(positions)

    def split_words(self, phrase: str) -> list[str]:
        """The words of a phrase, in lower case, that the tokenizer has no token of their own for."""
        words = re.findall(r"[^\W\d_]+", phrase.lower())
        return [word for word in words if len(self.tokenizer.tokenize(word)) > 1]

    def _position(self, i: int) -> int:
        """Position in the states of the i-th token of a prompt, the start token included."""
        if i < self.limit - 1:
            return i
        chunk, offset = divmod(i - 1, self.limit - 2)
        return chunk * self.limit + 1 + offset

    def _chunks(self, prompt: str) -> list[list[int]]:
        """The token ids of a prompt by chunks, without start and end tokens; one chunk where it is encoded whole."""
        ids = self._read(prompt, add_special_tokens=False)["input_ids"]
        if self.truncate:
            # the tokenizer cuts at `limit`, and the start and end token, however many it has, need room
            start_and_end = len(self._read("")["input_ids"])
            return [ids[: self.limit - start_and_end]]
        if not self.chunked:
            return [ids]

        # an empty prompt is one chunk, of no tokens
        size = self.limit - 2
        chunks = [ids[i : i + size] for i in range(0, len(ids), size)]
        return chunks or [[]]

    def _framed(self, chunk: Sequence[int]) -> list[int]:
        """A chunk between start and end token, padded to `limit` tokens."""
        tokenizer: Any = self.tokenizer
        missing = self.limit - 2 - len(chunk)
        padding = [tokenizer.pad_token_id] * missing
        return [tokenizer.bos_token_id, *chunk, tokenizer.eos_token_id, *padding]

    def _first(self, prompts: Sequence[str]) -> Tensor:
        """Ids of each prompt's first chunk `[prompt, limit]`."""
        if not (self.chunked and self.limit == CLIP_LENGTH):
            return self.tokens(prompts)
        rows = []
        for prompt in prompts:
            first, *_ = self._chunks(prompt)
            rows.append(self._framed(first))
        return torch.tensor(rows)

    def _read(self, prompt: str | list[str], **options: Any) -> Any:
        """The tokenizer's output, cut where `truncate` is set; its own warnings of length are off."""
        expanded = self.expand(prompt) if isinstance(prompt, str) else [self.expand(each) for each in prompt]
        cut = {"truncation": True, "max_length": self.limit} if self.truncate else {}
        return self.tokenizer(expanded, verbose=False, **(cut | options))

    @property
    def encoders(self) -> tuple[PreTrainedModel, ...]:
        """All encoders of the model, in the order of its folder; most have one."""
        return (self.encoder,)

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device


class T5Text(ClipText):
    """A tokenizer and its T5 or UMT5 encoder (Raffel et al. 2020, arXiv 1910.10683), of `limit` tokens.

    `masked` (Wan): padding is not attended to and its states are zero; CogVideoX was trained with padding unmasked.
    Longer prompts are refused: the networks were trained on `limit` tokens.
    """

    chunked = False

    def __init__(
        self, name: str, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, limit: int, masked: bool = False
    ) -> None:
        super().__init__(name, tokenizer, encoder, limit)
        self.masked = masked

    def states(self, ids: Tensor) -> Tensor:
        """Token states `[prompt, token, channel]` of `ids` `[prompt, token]`; those of padding are 0 where `masked`."""
        if not self.masked:
            return super().states(ids)
        padding: Any = self.tokenizer.pad_token_id
        ids = ids.to(self._device)
        mask = ids.ne(padding)
        states = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states * mask[..., None].to(states.device)  # with offloaded weights, states are on the compute device


def truncating(backbone: AnyBackbone) -> AnyBackbone:
    """A copy of the model that cuts prompts to the text encoder's limit, as LMD, LVD and DiTCtrl do.

    It shares its weights with `backbone`, which does not change.
    """
    # both shallow: the encoder's weights are shared, the switch is not
    truncated = copy(backbone)
    truncated.text = copy(backbone.text)
    truncated.text.truncate = True
    return truncated


def find(prompt: str, phrase: str) -> tuple[int, int] | None:
    """The span of whole words in `prompt`: the phrase or its plural, else the phrase's last word or its plural."""
    return _named(prompt, phrase.strip()) or _named(prompt, phrase.split()[-1])


def _named(prompt: str, words: str) -> tuple[int, int] | None:
    """The span of these words in `prompt`, or of their plural."""
    for form in (words, *plurals(words)):
        hit = re.search(rf"(?<!\w){re.escape(form)}(?!\w)", prompt, re.IGNORECASE)
        if hit:
            return hit.span()
    return None


def named(text: str, phrase: str, others: Sequence[str]) -> bool:
    """Whether `text` names `phrase`: by the whole phrase, or by its last word outside the phrases of `others`."""
    span = find(text, phrase)
    if span is None or _named(text, phrase.strip()) is not None:
        return span is not None

    # its last word alone was found: it may be that of another phrase
    spans = [_named(text, other.strip()) for other in others if other != phrase]
    return not any(_inside(span, other) for other in spans)


def _inside(span: tuple[int, int], other: tuple[int, int] | None) -> bool:
    return other is not None and other[0] <= span[0] and span[1] <= other[1]


def _start(prompt: str) -> str:
    """The beginning of a prompt, for messages."""
    return repr(prompt[:40] + "…")
