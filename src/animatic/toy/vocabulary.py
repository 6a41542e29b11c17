"""New words for a text encoder that has learnt others: what it knows keeps its tokens and its embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import CLIPTokenizer

END = "</w>"  # closes the last piece of a word in CLIP's byte-level BPE


def with_words(tokenizer: Any, words: Sequence[str]) -> Any:
    """The tokenizer with each of `words` (lower case, letters alone) as one token; old tokens keep their ids.

    The pieces of a word are joined from left to right by merges that rank below all old ones. No word that was one
    token before is read in another way, because its own merges come first.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = dict(model["vocab"])
    merges: Any = [tuple(merge) for merge in model["merges"]]
    extended = tokenizer

    for word in words:
        pieces = extended.tokenize(word)
        while len(pieces) > 1:
            pair, joined = (pieces[0], pieces[1]), pieces[0] + pieces[1]
            merges.append(pair)
            vocabulary.setdefault(joined, len(vocabulary))
            pieces = [joined, *pieces[2:]]
        # read by the tokenizer so far: a word may begin as an earlier new one does
        extended = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=tokenizer.model_max_length)
    return extended


@torch.no_grad()
def embed_new_words(encoder: Any, tokenizer: Any, alike: Sequence[str], seed: int = 0) -> None:
    """Give the tokens that `encoder` lacks an embedding: the mean of those of the words `alike`, and noise.

    The noise has the spread of the embeddings of `alike`, so that a new noun begins as some noun.
    """
    old: Any = encoder.get_input_embeddings()
    known = torch.tensor([tokenizer.convert_tokens_to_ids(word + END) for word in alike])
    centre, spread = old.weight[known].mean(0), old.weight[known].std(0)

    table = nn.Embedding(len(tokenizer), old.embedding_dim)
    noise = torch.randn(table.weight.shape, generator=torch.Generator().manual_seed(seed))
    table.weight.copy_(centre + spread * noise)
    table.weight[: len(old.weight)] = old.weight
    encoder.set_input_embeddings(table)
    encoder.config.vocab_size = len(tokenizer)
