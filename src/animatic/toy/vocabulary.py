"""Extends the vocabulary of a trained text encoder: old tokens keep their ids and embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import CLIPTokenizer

from ..training.text_encoder import END


def with_words(tokenizer: Any, words: Sequence[str]) -> Any:
    """The tokenizer with each of `words` (lower case, letters alone) as one token; old tokens keep their ids.

    The pieces of a word are joined from left to right by merges that rank below all old ones. The
    tokens of a word that was one token before do not change, because its own merges rank higher.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = dict(model["vocab"])
    merges: Any = [tuple(merge) for merge in model["merges"]]

    # A word of n pieces needs n - 1 merges, of which some may be there already.
    extended = tokenizer

    for word in words:
        pieces = extended.tokenize(word)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            joined = pieces[0] + pieces[1]
            vocabulary.setdefault(joined, len(vocabulary))
            pieces = [joined, *pieces[2:]]
        # The next word is split by this tokenizer, because it may share a prefix with an earlier new word.
        extended = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=tokenizer.model_max_length)
    return extended


@torch.no_grad()
def embed_new_words(encoder: Any, tokenizer: Any, alike: Sequence[str], seed: int = 0) -> None:
    """Add embeddings for the tokens that `encoder` lacks: normal with the mean and deviation of the words `alike`.

    A new noun begins as a random mixture of known nouns in this way.
    """
    old: Any = encoder.get_input_embeddings()
    ids = [tokenizer.convert_tokens_to_ids(word + END) for word in alike]
    known = old.weight[torch.tensor(ids)]
    mean = known.mean(0)
    deviation = known.std(0)

    table = nn.Embedding(len(tokenizer), old.embedding_dim)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(table.weight.shape, generator=generator)
    table.weight.copy_(mean + deviation * noise)
    table.weight[: len(old.weight)] = old.weight

    encoder.set_input_embeddings(table)
    encoder.config.vocab_size = len(tokenizer)
