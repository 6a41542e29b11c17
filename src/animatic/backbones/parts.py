"""The parts of a model folder besides its network: autoencoder, scheduler, text encoder or classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from ..core.text import ClipText, T5Text
from ..errors import AnimaticError
from ..quiet import quiet
from .attention_processors import WAN_TEXT_TOKENS
from .bert import BertSentence
from .codec import PatchCodec
from .cogvideox import CogVideoX
from .components import Components
from .folder import class_in, read_json, read_network, read_tokenizer, reading, reading_card
from .hunyuan import HunyuanVideo
from .hunyuan_text import GLYPH_TOKENS, WORD_TOKENS, ChatAndGlyphs, ChatText, GlyphText
from .ltx import LTX_TEXT_TOKENS, FlaggedT5, LTXVideo
from .sd3 import StableDiffusion3
from .sdxl import Refiner, StableDiffusionXL
from .small_model import ClipSentence, Labels, SpaceTimeBackbone
from .text_parts import PenultimateText, TextPair, TextSequence

# classes of transformers, which imports one when it is first asked for
CLIP = "CLIPTextModel"
ENCODERS = (CLIP, "T5EncoderModel", "UMT5EncoderModel", "BertModel")

SD3_TEXT_TOKENS = 256  # tokens of T5 that diffusers' pipeline of Stable Diffusion 3 reads


def read_labels(folder: Path, card: dict[str, Any]) -> Any:
    with reading_card(folder):
        return Labels.read(card)


def vae_class_in(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The class and configuration of the autoencoder in a folder. Raises `AnimaticError` where it is none known."""
    config = read_json(folder / "config.json")
    name = str(config.get("_class_name", ""))
    cls = PatchCodec if name == "PatchCodec" else getattr(diffusers, name, None)
    if cls is None:
        raise AnimaticError(f"{folder}: its class is {name!r}; want one of diffusers' autoencoders or PatchCodec")
    return cls, config


def read_codec(folder: Path, dtype: torch.dtype) -> Any:
    cls, config = vae_class_in(folder)

    # Some autoencoders overflow in half precision (SDXL's), which their config says.
    return read_network(cls, folder, torch.float32 if config.get("force_upcast") else dtype)


def read_scheduler(folder: Path) -> Any:
    name = str(read_json(folder / "scheduler_config.json").get("_class_name", ""))
    cls = getattr(diffusers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, SchedulerMixin)):
        raise AnimaticError(f"{folder}: no diffusers scheduler is named in scheduler_config.json, but {name!r}")
    with reading(f"{folder}: {name} cannot be read, or is no scheduler of these models"), quiet():
        return cls.from_pretrained(folder)


def read_text_encoder(name: str, cls: type[Components], network: Any, folder: Path, dtype: torch.dtype) -> ClipText:
    """The text encoder with its tokenizer; of the T5 family with as many tokens as the network was trained on."""
    # Models of several encoders; the refiner reads with the second of SDXL's two.
    if cls is Refiner:
        return _penultimate(name, folder, "_2", dtype)
    if cls is StableDiffusionXL:
        first = _penultimate(name, folder, "", dtype, projects=False)
        return TextPair(first, _penultimate(name, folder, "_2", dtype))
    if cls is StableDiffusion3:
        return _clip_and_t5(name, folder, dtype)
    if cls is HunyuanVideo:
        return _chat_and_glyphs(name, folder, dtype)

    # Which encoder; a folder of parts alone has no index, and holds CLIP.
    index_file = folder / "model_index.json"
    encoder_class = class_in(read_json(index_file), "text_encoder") if index_file.exists() else CLIP
    is_bert = encoder_class == "BertModel"
    if encoder_class not in ENCODERS:
        raise AnimaticError(f"{folder}: its text_encoder is {encoder_class!r}; want one of {', '.join(ENCODERS)}")
    if is_bert and cls is not SpaceTimeBackbone:
        raise AnimaticError(f"{folder}: its text_encoder is BertModel, which only a SpaceTimeUNet reads")

    # Encoder and tokenizer, then the class that reads them in the network's way.
    options = {"add_pooling_layer": False} if is_bert else {}  # the states are pooled here
    encoder = read_network(getattr(transformers, encoder_class), folder / "text_encoder", dtype, **options)
    tokenizer = read_tokenizer(folder / "tokenizer", encoder.config.vocab_size)
    if is_bert:
        return BertSentence(name, tokenizer, encoder)
    return text_of(name, cls, network, encoder, tokenizer)


def text_of(name: str, cls: type[Components], network: Any, encoder: Any, tokenizer: Any) -> ClipText:
    """A loaded text encoder and its tokenizer in the class that reads them as a network of class `cls` wants.

    Raises `AnimaticError` where the encoder is none of them, or the tokenizer does not know where its tokens stand.
    """
    encoder_class = type(encoder).__name__
    if encoder_class not in ENCODERS:
        raise AnimaticError(f"{name}: its text_encoder is {encoder_class}; want one of {', '.join(ENCODERS)}")
    _check_fast(name, tokenizer)
    if encoder_class == CLIP:
        text_class = ClipSentence if cls is SpaceTimeBackbone else ClipText
        return text_class(name, tokenizer, encoder)
    if cls is LTXVideo:
        return FlaggedT5(name, tokenizer, encoder, min(LTX_TEXT_TOKENS, tokenizer.model_max_length))
    if cls is CogVideoX:
        return T5Text(name, tokenizer, encoder, network.config.max_text_seq_length)
    return T5Text(name, tokenizer, encoder, min(WAN_TEXT_TOKENS, tokenizer.model_max_length), masked=True)


def text_of_parts(name: str, cls: type[Components], network: Any, parts: Mapping[str, Any]) -> ClipText:
    """The loaded text encoders and tokenizers of a pipeline, by their names in it, as a network of `cls` reads them.

    Raises `AnimaticError` where one is missing or of another kind.
    """
    several = {StableDiffusionXL: 2, StableDiffusion3: 3}.get(cls, 1)
    pairs = []
    for number in ("", "_2", "_3")[:several]:
        missing = [part for part in (f"text_encoder{number}", f"tokenizer{number}") if parts.get(part) is None]
        if missing:
            raise AnimaticError(f"{name}: it has no {missing[0]}; want it loaded")
        pairs.append((parts[f"tokenizer{number}"], parts[f"text_encoder{number}"]))
    if several == 1:
        tokenizer, encoder = pairs[0]
        return text_of(name, cls, network, encoder, tokenizer)

    # Tokens are found in the text by where each stands.
    for tokenizer, _ in pairs:
        _check_fast(name, tokenizer)
    first, second = (PenultimateText(name, tokenizer, encoder) for tokenizer, encoder in pairs[:2])
    if cls is StableDiffusionXL:
        return TextPair(first, second)
    tokenizer, encoder = pairs[2]
    limit = min(SD3_TEXT_TOKENS, tokenizer.model_max_length)
    return TextSequence(first, second, T5Text(name, tokenizer, encoder, limit))


def _check_fast(name: str, tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        kind = type(tokenizer).__name__
        raise AnimaticError(f"{name}: {kind} does not say where tokens stand; want AutoTokenizer's fast one")


def _penultimate(name: str, folder: Path, number: str, dtype: torch.dtype, projects: bool = True) -> PenultimateText:
    """One of several CLIP encoders with its tokenizer, in the folders whose names end in `number` ("", "_2")."""
    cls = transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel
    encoder = read_network(cls, folder / f"text_encoder{number}", dtype)
    tokenizer = read_tokenizer(folder / f"tokenizer{number}", encoder.config.vocab_size)
    return PenultimateText(name, tokenizer, encoder)


def _clip_and_t5(name: str, folder: Path, dtype: torch.dtype) -> TextSequence:
    """The three encoders of Stable Diffusion 3. Raises `AnimaticError` where T5 was left out of the folder."""
    if not (folder / "text_encoder_3").is_dir():
        raise AnimaticError(f"{folder}: no text_encoder_3; want Stable Diffusion 3 with all three text encoders")
    first = _penultimate(name, folder, "", dtype)
    second = _penultimate(name, folder, "_2", dtype)
    encoder = read_network(transformers.T5EncoderModel, folder / "text_encoder_3", dtype)
    tokenizer = read_tokenizer(folder / "tokenizer_3", encoder.config.vocab_size)
    limit = min(SD3_TEXT_TOKENS, tokenizer.model_max_length)
    return TextSequence(first, second, T5Text(name, tokenizer, encoder, limit))


def _chat_and_glyphs(name: str, folder: Path, dtype: torch.dtype) -> ChatAndGlyphs:
    """The two encoders of HunyuanVideo 1.5. Raises `AnimaticError` where ByT5 was left out, or there is no template."""
    from transformers import ByT5Tokenizer, Qwen2_5_VLTextModel  # a language model is slow to import

    for part in ("text_encoder_2", "tokenizer_2"):
        if not (folder / part).is_dir():
            raise AnimaticError(f"{folder}: no {part}; want HunyuanVideo 1.5 with both text encoders")
    encoder = read_network(Qwen2_5_VLTextModel, folder / "text_encoder", dtype)
    tokenizer = read_tokenizer(folder / "tokenizer", encoder.config.vocab_size)
    if not tokenizer.chat_template:
        raise AnimaticError(f"{folder / 'tokenizer'}: no chat template; want chat_template.jinja, or one in its config")
    words = ChatText(name, tokenizer, encoder, min(WORD_TOKENS, tokenizer.model_max_length))

    # ByT5's tokens are bytes: its tokenizer has no vocabulary to read.
    glyph_encoder = read_network(transformers.T5EncoderModel, folder / "text_encoder_2", dtype)
    with reading(f"{folder / 'tokenizer_2'}: the tokenizer cannot be read"):
        glyph_tokenizer = ByT5Tokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
    glyphs = GlyphText(name, glyph_tokenizer, glyph_encoder, min(GLYPH_TOKENS, glyph_tokenizer.model_max_length))
    return ChatAndGlyphs(words, glyphs)
