"""A model by name or folder: every folder in diffusers layout with a UNet or transformer, a VAE and a text encoder.

What diffusers has no word for (native size, habits, vocabulary) stands in PRESETS, or in `animatic.json` in the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, UMT5EncoderModel

from ..errors import AnimaticError
from ..text import ClipText, T5Text
from .base import Components, Geometry, Habits
from .beside import Beside, beside_of
from .codec import PatchCodec
from .cogvideox import CogVideoX
from .economy import Economy
from .folder import read_json, read_network, read_tokenizer
from .lavie import LaVie, models_home
from .presets import CONVERT, PRESETS, Preset
from .small_model import Labels, Sentence, Small
from .unet2d import Refiner, RefinerText, UNet2D
from .unet3d import UNet3D
from .wan import Wan

NETWORKS = {cls.network.__name__: cls for cls in (UNet3D, UNet2D, Small, LaVie, CogVideoX, Wan)}
ENCODERS = {cls.__name__: cls for cls in (CLIPTextModel, T5EncoderModel, UMT5EncoderModel)}
TRANSFORMERS = tuple(name for name, cls in NETWORKS.items() if cls.part == "transformer")
NO_ECONOMY = Economy()
WAN_WORDS = 512  # tokens that Wan was trained on
TOLD = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")  # what a card may borrow of another model


def load(
    name: str = "mini",
    device: str = "",
    economy: Economy = NO_ECONOMY,
    adapt: Callable[[Components], object] = lambda model: None,
) -> Components:
    """The model called `name` (see PRESETS) or in the folder `name`, frozen, on `device` ("": a GPU if there is one).

    `economy` says how to save memory; `adapt` may change the weights before that. Raises `AnimaticError` where the
    model is unknown, incomplete or damaged.
    """
    preset = PRESETS.get(name)
    folder = Path(name) if preset is None else _folder(name, preset)
    if preset is None and not folder.is_dir():
        raise AnimaticError(f"unknown model {name!r}; known: {', '.join(PRESETS)}, or a folder in diffusers layout")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    own = preset.dtype if device.startswith("cuda") and preset and preset.source else "float32"
    model = _read(name if preset else folder.name, folder, preset, getattr(torch, economy.dtype or own))
    adapt(model.freeze())
    return economy.apply(model, torch.device(device))


def beside_of_model(name: str) -> Beside | None:
    """What the model called `name` or in the folder `name` sees beside the noise, by its card: no weights are read."""
    preset = PRESETS.get(name)
    if preset and preset.source and not preset.source.startswith(CONVERT):  # of another maker, who writes no card
        return preset.beside
    card = (Path(name) if preset is None else _folder(name, preset)) / "animatic.json"
    return (beside_of(read_json(card)) if card.exists() else None) or (preset and preset.beside)


def _folder(name: str, preset: Preset) -> Path:
    if not preset.source:
        return Path(str(files("animatic") / "weights" / name))
    if preset.source.startswith(CONVERT):
        if not (folder := models_home() / name).is_dir():
            raise AnimaticError(f"{name} is not on this machine; get its checkpoint, then: {preset.source}")
        return folder
    return _fetched(name, preset.source, ("unet", "transformer", "transformer_2", "scheduler", *TOLD))


def _fetched(name: str, source: str, parts: Sequence[str]) -> Path:
    wanted = [f"{part}/*" for part in parts]
    try:
        return Path(snapshot_download(source, allow_patterns=["model_index.json", *wanted]))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        reason = type(error).__name__
        raise AnimaticError(f"{name}: {source} is not on this machine and cannot be fetched ({reason})") from None


def _read(name: str, folder: Path, preset: Preset | None, dtype: torch.dtype) -> Components:
    index = read_json(folder / "model_index.json")
    card = read_json(folder / "animatic.json") if (folder / "animatic.json").exists() else {}
    part = "transformer" if "transformer" in index else "unet"
    kind = index.get(part, [None, None])[1]
    if kind not in NETWORKS:
        raise AnimaticError(f"{folder}: its {part} is {kind!r}; want one of {', '.join(NETWORKS)}")
    cls, rest = NETWORKS[kind], folder
    if source := card.get("parts"):  # text encoder and VAE are another model's
        rest = Path(source) if Path(source).is_dir() else _fetched(name, source, TOLD)
    network = cls.read(folder / part, dtype)
    if network.config.get("addition_embed_type") == "text_time":
        cls = Refiner
    vae = _codec(rest / "vae", torch.float32 if cls.full_codec else dtype)
    scheduler_class = read_json(folder / "scheduler" / "scheduler_config.json").get("_class_name", "")
    if not hasattr(diffusers, scheduler_class):
        raise AnimaticError(f"{folder}/scheduler: no diffusers scheduler is named in scheduler_config.json")
    model = cls(
        name,
        network,
        vae,
        Labels.read(card) if "class_vectors" in card else _text(name, cls, network, rest, dtype),
        getattr(diffusers, scheduler_class).from_pretrained(folder / "scheduler"),
        _geometry(card) or (preset and preset.geometry) or cls.native(network.config, vae.config),
        Habits(**card["habits"]) if "habits" in card else (preset and preset.habits) or Habits(),
        card.get("coordinates", False),
        tuple(card.get("words", ())),
    )
    model.beside = beside_of(card) or (preset and preset.beside)
    model.complete(folder, index, dtype)
    return model


def _codec(folder: Path, dtype: torch.dtype) -> Any:
    config = read_json(folder / "config.json")
    name = str(config.get("_class_name", ""))
    cls = PatchCodec if name == "PatchCodec" else getattr(diffusers, name, None)
    if cls is None:
        raise AnimaticError(f"{folder}: its class is {name!r}; want one of diffusers' autoencoders or PatchCodec")
    return read_network(cls, folder, torch.float32 if config.get("force_upcast") else dtype)


def _geometry(card: dict[str, Any]) -> Geometry | None:
    told = card.get("geometry")
    return told and Geometry(**{**told, "patch": tuple(told.get("patch", (1, 1, 1)))})


def _text(name: str, cls: type[Components], network: Any, folder: Path, dtype: torch.dtype) -> ClipText:
    """The text encoder with its tokenizer; of the T5 family with as many tokens as the network was trained on."""
    if cls is Refiner:  # reads with the second of SDXL's two encoders
        encoder = read_network(CLIPTextModelWithProjection, folder / "text_encoder_2", dtype)
        return RefinerText(name, read_tokenizer(folder / "tokenizer_2", encoder.config.vocab_size), encoder)
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").exists() else {}
    encoder_class = (index.get("text_encoder") or [None, "CLIPTextModel"])[1]
    if encoder_class not in ENCODERS:
        raise AnimaticError(f"{folder}: its text_encoder is {encoder_class!r}; want one of {', '.join(ENCODERS)}")
    encoder = read_network(ENCODERS[encoder_class], folder / "text_encoder", dtype)
    tokenizer = read_tokenizer(folder / "tokenizer", encoder.config.vocab_size)
    if encoder_class == "CLIPTextModel":
        return (Sentence if cls is Small else ClipText)(name, tokenizer, encoder)
    if cls is CogVideoX:
        return T5Text(name, tokenizer, encoder, network.config.max_text_seq_length)
    return T5Text(name, tokenizer, encoder, min(WAN_WORDS, tokenizer.model_max_length), masked=True)
