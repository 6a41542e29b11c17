"""Textual inversion: words of a prompt whose token embeddings were learned, added to CLIP's text encoders.

Gal et al. 2022, https://arxiv.org/abs/2208.01618. Read are diffusers' files, {word: vectors}, in safetensors or torch's
format; A1111's, `string_to_param` in `.pt` and `emb_params` in safetensors; and those of SDXL, `clip_l` and `clip_g`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import AddedToken
from torch import Tensor

from ..core.text import ClipText
from ..errors import AnimaticError
from .components import Components
from .folder import read_checkpoint, reading
from .text_parts import PenultimateText, TextPair

WIDTHS = {"clip_l": 768, "clip_g": 1280}  # channels of SDXL's two encoders, by their keys in files
OF_A1111 = "*"  # the word in every file of A1111's `string_to_param`
WITH_WORDS = (ClipText, PenultimateText, TextPair)  # exactly: others read with T5, or pool whole sentences
EOS_BEFORE_ADDING = 2  # `eos_token_id` of older configurations, with which CLIP pools at the token of the highest id


@dataclass(frozen=True)
class EmbeddingRequest:
    """A requested embedding: FILE, or FILE:WORD where the word of the file is not the one for prompts."""

    file: Path
    word: str = ""

    @staticmethod
    def of(text: str) -> EmbeddingRequest:
        """The request in `text`."""
        if os.path.exists(text):
            return EmbeddingRequest(Path(text))
        file, _, word = text.rpartition(":")
        if file and os.path.exists(file):
            return EmbeddingRequest(Path(file), word)
        return EmbeddingRequest(Path(text))


@dataclass(frozen=True)
class Embedding:
    """What a file holds: the word in prompts, and its vectors `[vector, channel]`, of each encoder that has some."""

    word: str
    vectors: tuple[Tensor, ...]


def read_embedding(file: Path, word: str = "") -> Embedding:
    """The embedding in a file. `word` "" is diffusers' word in the file, or as for A1111 the file's own name.

    Raises `AnimaticError` where the file is damaged, carries code, or holds something else.
    """
    if not file.is_file():
        raise AnimaticError(f"{file}: no such file; want an embedding of textual inversion")
    if file.suffix == ".safetensors":
        with reading(f"{file}: cannot be read"):
            state: Any = load_file(file)
    else:
        # Tensors in a ParameterDict, as the first implementation wrote them, run no code.
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):
            state = read_checkpoint(file)

    own, found = _word_and_vectors(file, state)
    vectors = []
    for tensor in found:
        rows = tensor.detach().float()
        vectors.append(rows[None] if rows.dim() == 1 else rows)
    if not all(rows.dim() == 2 and len(rows) and rows.isfinite().all() for rows in vectors):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in found)
        raise AnimaticError(f"{file}: its vectors are {shapes}; want finite numbers [vector, channel]")

    word = word or own
    if not word or any(letter.isspace() for letter in word):
        raise AnimaticError(f"{file}: its word is {word!r}; want one without spaces, {file}:WORD")
    return Embedding(word, tuple(vectors))


def _word_and_vectors(file: Path, state: Mapping[str, Any]) -> tuple[str, list[Tensor]]:
    """The word that a file has, or its name, and the vectors, of one encoder or two."""
    if "string_to_param" in state:
        return file.stem, [state["string_to_param"][OF_A1111]]
    if "emb_params" in state:
        return file.stem, [state["emb_params"]]
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if tensors and tensors.keys() <= WIDTHS.keys():
        return file.stem, [tensors[key] for key in WIDTHS if key in tensors]
    if len(state) == 1 and tensors:
        ((word, vectors),) = tensors.items()
        return word, [vectors]
    keys = ", ".join(sorted(map(str, state))[:3])
    wanted = "{word: vectors}, string_to_param, emb_params, or clip_l and clip_g"
    raise AnimaticError(f"{file}: holds {keys or 'nothing'}; want an embedding of textual inversion: {wanted}")


def add_embedding(model: Components, file: Path, word: str = "") -> Components:
    """Add the word of an embedding to the text encoders of `model`, in place. See `read_embedding` for `word`.

    In prompts the word is written alone, in any case; one of several vectors is read as so many tokens. Vectors go to
    the encoder of their width. CLIP's pooled embedding stays that at the end token, which diffusers' pipeline of SDXL
    takes at the added word. Raises `AnimaticError`, and changes nothing, where the model reads with another kind of
    encoder, has none or several of that width, or knows the word already.
    """
    text = model.text
    if type(text) not in WITH_WORDS:
        raise AnimaticError(f"{file}: {model.name} takes no embeddings; want a model that reads with CLIP alone")
    embedding = read_embedding(file, word)
    readers = (text, text.second) if isinstance(text, TextPair) else (text,)

    # The encoder of each, by its width.
    pairs = []
    for vectors in embedding.vectors:
        width = vectors.shape[1]
        of_width = [reader for reader in readers if reader.encoder.config.hidden_size == width]
        if len(of_width) != 1:
            widths = " and ".join(str(reader.encoder.config.hidden_size) for reader in readers)
            raise AnimaticError(f"{file}: its vectors have {width} channels; the text of {model.name} has {widths}")
        pairs.append((of_width[0], vectors))

    # Each tokenizer as it is before any is changed.
    for reader, vectors in pairs:
        vocabulary: Any = reader.tokenizer
        known = vocabulary.get_vocab()
        taken = [name for name in words_of(embedding.word, len(vectors)) if name in known or name.lower() in known]
        if taken:
            raise AnimaticError(f"{file}: the word {taken[0]!r} is {model.name}'s already; want {file}:WORD")
    for reader, vectors in pairs:
        _add_word(reader, embedding.word, vectors)

    model.name = f"{model.name} + {embedding.word}"
    model.embeddings = (*model.embeddings, (str(file.resolve()), embedding.word))
    return model


def words_of(word: str, count: int) -> list[str]:
    """The tokens of a word of `count` vectors, as diffusers names them: toy, toy_1, toy_2."""
    return [word, *(f"{word}_{i}" for i in range(1, count))]


@torch.no_grad()
def _add_word(reader: ClipText, word: str, vectors: Tensor) -> None:
    """Add the tokens of a word to a tokenizer, and their vectors to its encoder."""
    tokenizer: Any = reader.tokenizer
    encoder: Any = reader.encoder
    tokens = words_of(word, len(vectors))
    tokenizer.add_tokens([AddedToken(token, single_word=True, normalized=True) for token in tokens])

    # A longer table, whose last rows are the vectors.
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = encoder.get_input_embeddings().weight.requires_grad_(False)
    table[tokenizer.convert_tokens_to_ids(tokens)] = vectors.to(table)

    # An end token that is known, where the highest id was taken for it: that would be a word's now.
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) == EOS_BEFORE_ADDING:
            module.eos_token_id = tokenizer.eos_token_id
    reader.expand = _expanding(reader.expand, word, tokens)


def _expanding(inner: Callable[[str], str], word: str, tokens: list[str]) -> Callable[[str], str]:
    """`inner`, and after it the word written as all of its tokens."""
    if len(tokens) == 1:
        return inner
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    written = " ".join(tokens)

    def expand(text: str) -> str:
        return pattern.sub(lambda _: written, inner(text))

    return expand
