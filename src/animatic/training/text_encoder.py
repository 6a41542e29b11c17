"""A tokenizer trained on captions, and a small CLIP text encoder with random weights for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

END = "</w>"  # closes the last piece of a word in CLIP's byte-level BPE


def train_tokenizer(captions: Sequence[str], length: int = 64, size: int = 1600) -> Any:
    """A byte-level BPE tokenizer in the format of CLIP.

    Args:
        captions: The corpus, in any case.
        length: Tokens in a prompt.
        size: Size of the vocabulary.
    """
    # Words and punctuation first, then bytes, as CLIP does it.
    words = pre_tokenizers.Whitespace()
    letters_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, letters_of_words])

    # Train the merges.
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, end_of_word_suffix=END, show_progress=False
    )
    bpe.train_from_iterator([caption.lower() for caption in captions], trainer)
    model = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(merge) for merge in model["merges"]]

    # The vocabulary in the order of CLIP: bytes, bytes that end a word, merges, special tokens.
    letters = sorted(alphabet)
    final_letters = [letter + END for letter in letters]
    merged = [first + second for first, second in merges]
    special = ["<|startoftext|>", "<|endoftext|>"]
    tokens = dict.fromkeys([*letters, *final_letters, *merged, *special])
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)


def new_text_encoder(tokenizer: Any, width: int, heads: int = 4, layers: int = 2) -> CLIPTextModel:
    """A CLIP text encoder with random weights, whose token states have `width` channels."""
    # The feed-forward is four times as wide, as in CLIP.
    config = CLIPTextConfig(
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
    return CLIPTextModel(config)
