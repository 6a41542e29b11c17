"""A model by name or folder: every folder in diffusers layout with a UNet or transformer, a VAE and a text encoder.

What diffusers has no word for (native size, habits, vocabulary, the family whose settings the methods use) stands in
PRESETS, or in the folder's card `animatic.json`; without a card the network's configuration tells (`identity`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import BertModel, CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, UMT5EncoderModel

from ..errors import AnimaticError, counted, listed, warn
from ..quiet import quiet
from ..text import ClipText, T5Text
from .base import Components, Geometry, Habits
from .bert import BertSentence
from .beside import Beside, beside_of
from .codec import PatchCodec
from .cogvideox import CogVideoX
from .economy import Economy
from .fetching import fetched
from .folder import class_in, read_json, read_network, read_tokenizer, reading, reading_card
from .identity import known_as
from .lavie import LaVie, models_home
from .presets import CONVERT, PRESETS, Preset
from .small_model import Labels, Sentence, Small
from .unet2d import Refiner, RefinerText, UNet2D
from .unet3d import UNet3D
from .wan import Wan

NETWORKS = {cls.network.__name__: cls for cls in (UNet3D, UNet2D, Small, LaVie, CogVideoX, Wan)}
ENCODERS = {cls.__name__: cls for cls in (CLIPTextModel, T5EncoderModel, UMT5EncoderModel, BertModel)}
TRANSFORMERS = tuple(name for name, cls in NETWORKS.items() if cls.part == "transformer")
NO_ECONOMY = Economy()
CLIP = CLIPTextModel.__name__
WAN_WORDS = 512  # tokens that Wan was trained on
CARD = {"family", "geometry", "habits", "coordinates", "words", "beside", "classes", "class_vectors", "parts"}
TOLD = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")  # what a card may borrow of another model


@quiet()
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
    half = economy.dtype == "float16"
    preset, folder = PRESETS.get(name), locate(name, half)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    found = _found(name if preset else folder.name, folder, preset)
    own = found.known.dtype if device.startswith("cuda") and found.known and found.known.source else "float32"
    model = _read(found, getattr(torch, economy.dtype or own), half)
    if not (found.known or {"geometry", "habits"} <= found.card.keys()):
        _warn_of_defaults(model, folder)
    model.reference, model.economy = name if preset else str(folder.resolve()), economy
    adapt(model.freeze())
    return economy.apply(model, torch.device(device))


def _warn_of_defaults(model: Components, folder: Path) -> None:
    """Say how a model is used that nothing says how to use."""
    size, habits = model.geometry, model.habits
    frames = f"{counted(size.frames, 'frame')} of {size.width}x{size.height} at {size.fps:g} a second"
    how = f"{habits.steps} steps, guidance {habits.guidance:g}"
    warn(f"{folder}: no animatic.json says how the model is used: {frames}, {how}")


def locate(name: str, half: bool = False) -> Path:
    """The folder of a model, fetched if it is a known one, `half`: in float16 if the hub has it so.

    Raises `AnimaticError` where there is none.
    """
    preset = PRESETS.get(name)
    folder = Path(name) if preset is None else _folder(name, preset, half)
    if preset is None and not os.path.isdir(name):  # of a Path a name that is too long would raise
        raise AnimaticError(f"unknown model {name!r}; known: {', '.join(PRESETS)}, or a folder in diffusers layout")
    return folder


@dataclass(frozen=True)
class Found:
    """A model folder before its weights are read: what it says of itself, and which known model it is.

    `index` is `model_index.json`, `card` is `animatic.json` ({} where there is none), `config` that of the network.
    `certain`: the user or the card says that it is the model `known`; else it was recognised.
    """

    name: str
    folder: Path
    index: dict[str, Any]
    card: dict[str, Any]
    config: dict[str, Any]
    known: Preset | None
    certain: bool

    @property
    def cls(self) -> Any:
        return NETWORKS[self.config["_class_name"]]

    def geometry(self, network: Any, vae: Any) -> Geometry:
        """Of the card, else of the model it is, else what the configs `network` and `vae` tell.

        A model that was only recognised may have learnt another size, which its config tells then (but for Wan's).
        """
        if "geometry" in self.card:
            with reading_card(self.folder):
                patch = tuple(self.card["geometry"].get("patch", (1, 1, 1)))
                return Geometry(**{**self.card["geometry"], "patch": patch})
        own = self.known and self.known.geometry
        if own and self.certain:
            return own

        told = self.cls.native(network, vae)
        same = own and all(getattr(told, n) == getattr(own, n) for n in ("channels", "stride", "height", "width"))
        sizeless = "sample_size" not in network and "sample_height" not in network
        return own if own and (same or sizeless) else told

    def habits(self) -> Habits:
        if "habits" in self.card:
            with reading_card(self.folder):
                return Habits(**self.card["habits"])
        return (self.known and self.known.habits) or Habits()


def _found(name: str, folder: Path, preset: Preset | None) -> Found:
    """Raises `AnimaticError` where `folder` is no model folder, or one of another kind of model."""
    index = read_json(folder / "model_index.json")
    card = read_json(folder / "animatic.json") if (folder / "animatic.json").exists() else {}
    part = "transformer" if "transformer" in index else "unet"
    kind = class_in(index, part)
    if kind not in NETWORKS:
        raise AnimaticError(f"{folder}: its {part} is {kind!r}; want one of {', '.join(NETWORKS)}")

    if odd := sorted(card.keys() - CARD):
        warn(f"{folder}/animatic.json: {listed(odd)} is not known and not used; known are {listed(sorted(CARD))}")

    config = {**read_json(folder / part / "config.json"), "_class_name": kind}
    known = preset or known_as(folder, card, config)
    return Found(name, folder, index, card, config, known, certain=preset is not None or "family" in card)


def beside_of_model(name: str) -> Beside | None:
    """What the model called `name` or in the folder `name` sees beside the noise, by its card: no weights are read."""
    preset = PRESETS.get(name)
    if preset and preset.source and not preset.source.startswith(CONVERT):  # of another maker, who writes no card
        return preset.beside
    card = (Path(name) if preset is None else _folder(name, preset)) / "animatic.json"
    return (beside_of(read_json(card)) if card.exists() else None) or (preset and preset.beside)


def _folder(name: str, preset: Preset, half: bool = False) -> Path:
    if not preset.source:
        return Path(str(files("animatic") / "weights" / name))
    if preset.source.startswith(CONVERT):
        if not (folder := models_home() / name).is_dir():
            raise AnimaticError(f"{name} is not on this machine; get its checkpoint, then: {preset.source}")
        return folder
    return fetched(name, preset.source, ("unet", "transformer", "transformer_2", "scheduler", *TOLD), half)


def _read(found: Found, dtype: torch.dtype, half: bool) -> Components:
    folder, card, cls, rest = found.folder, found.card, found.cls, found.folder
    if source := card.get("parts"):  # text encoder and VAE are another model's
        rest = Path(source) if Path(source).is_dir() else fetched(found.name, source, TOLD, half)

    network = cls.read(folder / cls.part, dtype)
    if network.config.get("addition_embed_type") == "text_time":
        cls = Refiner
    vae = _codec(rest / "vae", torch.float32 if cls.full_codec else dtype)

    model = cls(
        found.name,
        network,
        vae,
        _labels(folder, card) if "class_vectors" in card else _text(found.name, cls, network, rest, dtype),
        _scheduler(folder / "scheduler"),
        found.geometry(network.config, vae.config),
        found.habits(),
        card.get("coordinates", False),
        tuple(card.get("words", ())),
    )
    model.family = found.known.family if found.known else ""
    with reading_card(folder):
        model.beside = beside_of(card) or (found.known and found.known.beside)
    model.complete(folder, found.index, dtype)
    return model


def _labels(folder: Path, card: dict[str, Any]) -> Any:
    with reading_card(folder):
        return Labels.read(card)


def _codec(folder: Path, dtype: torch.dtype) -> Any:
    config = read_json(folder / "config.json")
    name = str(config.get("_class_name", ""))
    cls = PatchCodec if name == "PatchCodec" else getattr(diffusers, name, None)
    if cls is None:
        raise AnimaticError(f"{folder}: its class is {name!r}; want one of diffusers' autoencoders or PatchCodec")
    return read_network(cls, folder, torch.float32 if config.get("force_upcast") else dtype)


def _scheduler(folder: Path) -> Any:
    name = str(read_json(folder / "scheduler_config.json").get("_class_name", ""))
    cls = getattr(diffusers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, SchedulerMixin)):
        raise AnimaticError(f"{folder}: no diffusers scheduler is named in scheduler_config.json, but {name!r}")
    try:
        with reading(f"{folder}: cannot be read"), quiet():
            return cls.from_pretrained(folder)
    except TypeError as error:  # its class wants what no scheduler of these models has
        raise AnimaticError(f"{folder}: {name} is no scheduler of these models ({error})") from None


def _text(name: str, cls: type[Components], network: Any, folder: Path, dtype: torch.dtype) -> ClipText:
    """The text encoder with its tokenizer; of the T5 family with as many tokens as the network was trained on."""
    if cls is Refiner:  # reads with the second of SDXL's two encoders
        encoder = read_network(CLIPTextModelWithProjection, folder / "text_encoder_2", dtype)
        return RefinerText(name, read_tokenizer(folder / "tokenizer_2", encoder.config.vocab_size), encoder)
    named = (folder / "model_index.json").exists()  # not where parts alone lie
    encoder_class = class_in(read_json(folder / "model_index.json"), "text_encoder") if named else CLIP
    if encoder_class not in ENCODERS:
        raise AnimaticError(f"{folder}: its text_encoder is {encoder_class!r}; want one of {', '.join(ENCODERS)}")
    if (encoder_class == "BertModel") > (cls is Small):
        raise AnimaticError(f"{folder}: its text_encoder is BertModel, which only a SpaceTimeUNet reads")
    options = {"add_pooling_layer": False} if encoder_class == "BertModel" else {}  # the states are pooled here
    encoder = read_network(ENCODERS[encoder_class], folder / "text_encoder", dtype, **options)
    tokenizer = read_tokenizer(folder / "tokenizer", encoder.config.vocab_size)
    if encoder_class == "BertModel":
        return BertSentence(name, tokenizer, encoder)
    if encoder_class == CLIP:
        return (Sentence if cls is Small else ClipText)(name, tokenizer, encoder)
    if cls is CogVideoX:
        return T5Text(name, tokenizer, encoder, network.config.max_text_seq_length)
    return T5Text(name, tokenizer, encoder, min(WAN_WORDS, tokenizer.model_max_length), masked=True)
