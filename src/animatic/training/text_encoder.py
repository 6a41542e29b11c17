"""A tokenizer learnt from captions and a small CLIP text encoder for it: words without a download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


def train_tokenizer(captions: Sequence[str], length: int = 64, size: int = 1600) -> Any:
    """A byte-level BPE in CLIP's form; `size` merges and letters, `length` tokens a prompt."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [caption.lower() for caption in captions],
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False),
    )
    merges: Any = [tuple(m) for m in json.loads(bpe.to_str())["model"]["merges"]]
    letters = sorted(alphabet)
    words = [*letters, *(a + "</w>" for a in letters), *dict.fromkeys(a + b for a, b in merges)]
    words = list(dict.fromkeys([*words, "<|startoftext|>", "<|endoftext|>"]))
    return CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges, model_max_length=length)


def new_text_encoder(tokenizer: Any, width: int, heads: int = 4, layers: int = 2) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
