"""A model by name, folder or hub id: all in diffusers layout with a UNet or transformer, a VAE and a text encoder.

What diffusers cannot express (native size, defaults, vocabulary, the family whose settings the methods use) is in
PRESETS, or in the folder's card `animatic.json`; without a card the network's configuration decides (`identity`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import BertModel, CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, UMT5EncoderModel

from ..core.backbone import ConcatConditioning, Geometry, MemoryOptions, ModelDefaults
from ..core.text import ClipText, T5Text
from ..errors import AnimaticError, counted, listed, warn
from ..quiet import quiet
from .bert import BertSentence
from .codec import PatchCodec
from .cogvideox import CogVideoX
from .components import Components
from .concat_conditioning import conditioning_of_card
from .fetching import fetched
from .folder import class_in, read_card, read_json, read_network, read_tokenizer, reading, reading_card
from .identity import INHERITED, known_by_card, known_by_config
from .lavie import LaVie
from .locating import SHARED, Location, locate
from .memory import apply_memory_options
from .presets import CONVERT_COMMAND, PRESETS, Preset
from .small_model import ClipSentence, Labels, SpaceTimeBackbone
from .unet2d import Refiner, RefinerText, UNet2D
from .unet3d import UNet3D
from .wan import Wan

NETWORKS = {cls.network.__name__: cls for cls in (UNet3D, UNet2D, SpaceTimeBackbone, LaVie, CogVideoX, Wan)}
ENCODERS = {cls.__name__: cls for cls in (CLIPTextModel, T5EncoderModel, UMT5EncoderModel, BertModel)}
TRANSFORMERS = tuple(name for name, cls in NETWORKS.items() if cls.network_folder == "transformer")
NO_MEMORY_OPTIONS = MemoryOptions()
CLIP = CLIPTextModel.__name__
WAN_TEXT_TOKENS = 512  # tokens that Wan was trained on
CARD = {
    "model",
    "family",
    "geometry",
    "defaults",
    "coordinates",
    "words",
    "concat_conditioning",
    "classes",
    "class_vectors",
    "parts",
}


@quiet()
def load(
    name: str = "mini",
    device: str = "",
    memory: MemoryOptions = NO_MEMORY_OPTIONS,
    adapt: Callable[[Components], object] = lambda model: None,
) -> Components:
    """The model called `name` (see PRESETS), in the folder or with the hub id `name`, frozen, on `device`.

    `device` "" is a GPU if there is one. `memory` are options to save memory; `adapt` may change the weights before.
    Raises `AnimaticError` where the model is unknown, incomplete or damaged.
    """
    half = memory.dtype == "float16"
    place = locate(name, half)
    found = found_at(place)

    # The type: as requested, else on a GPU the model's own, which bundled models leave open.
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = memory.dtype
    if not dtype:
        is_published = found.known is not None and found.known.source
        dtype = found.known.dtype if found.known and is_published and device.startswith("cuda") else "float32"
    model = _read(found, getattr(torch, dtype), half)

    has_card = {"geometry", "defaults"} <= found.card.keys()
    if found.alike:
        _warn_of_recognised(model, found)
    elif not found.known and not has_card:
        _warn_of_defaults(model, found.folder)

    # Weights are changed before they are quantised or offloaded.
    model.reference = place.reference
    model.memory = memory
    adapt(model.freeze())
    return apply_memory_options(model, memory, torch.device(device))


def _warn_of_defaults(model: Components, folder: Path) -> None:
    """Warn of the defaults that a model without a card is used with."""
    warn(f"{folder}: no animatic.json says how the model is used: {_usage(model)}")


def _warn_of_recognised(model: Components, found: Found) -> None:
    """Warn which known model a folder was taken for, and with what defaults it is used."""
    name, *others = found.alike
    scheduler = model.defaults.scheduler or type(model.scheduler).__name__
    warning = f"{found.folder}: taken for {name} by its configuration: {_usage(model)}, {scheduler}"
    if others:
        warning += f"; {listed(others)} has the same one, which animatic card --model {others[0]} would say"
    warn(warning)


def _usage(model: Components) -> str:
    size = model.geometry
    defaults = model.defaults
    frames = f"{counted(size.frames, 'frame')} of {size.width}x{size.height} at {size.fps:g} a second"
    return f"{frames}, {defaults.steps} steps, guidance {defaults.guidance:g}"


@dataclass(frozen=True)
class Found:
    """A model folder before its weights are read: its configurations, and which known model it is.

    `index` is `model_index.json`, `card` is `animatic.json` ({} where there is none), `config` that of the network.
    `alike` are the known models that have its configuration, the first of them assumed; () where the user or the card
    says which model it is, or it is like none.
    """

    name: str
    folder: Path
    index: dict[str, Any]
    card: dict[str, Any]
    config: dict[str, Any]
    known: Preset | None
    alike: tuple[str, ...]

    @property
    def cls(self) -> Any:
        return NETWORKS[self.config["_class_name"]]

    def geometry(self, network: Any, vae: Any) -> Geometry:
        """The geometry of the card, else of the known model, else by the configurations `network` and `vae`.

        A model that was only recognised may have been trained at another size, which its configuration has (except
        Wan's).
        """
        if "geometry" in self.card:
            with reading_card(self.folder):
                patch = tuple(self.card["geometry"].get("patch", (1, 1, 1)))
                return Geometry(**{**self.card["geometry"], "patch": patch})

        # The known model's, where somebody named the model.
        own = self.known and self.known.geometry
        if own and not self.alike:
            return own

        if not own and "patch" in vae:  # a PatchCodec takes any size
            raise AnimaticError(f"{self.folder}: its configs have no size; want geometry in animatic.json")
        by_config = self.cls.native_geometry(network, vae)
        if not own:
            return by_config

        # A recognised model has the known geometry unless its configuration really says another.
        compared = ("channels", "vae_spatial_ratio", "height", "width")
        is_same = all(getattr(by_config, name) == getattr(own, name) for name in compared)
        has_no_size = "sample_size" not in network and "sample_height" not in network
        inherited_size = INHERITED.get(self.alike[0], 0)
        is_inherited = network.get("sample_size") == inherited_size
        return own if is_same or has_no_size or is_inherited else by_config

    def defaults(self) -> ModelDefaults:
        if "defaults" in self.card:
            with reading_card(self.folder):
                return ModelDefaults(**self.card["defaults"])
        return (self.known and self.known.defaults) or ModelDefaults()


def found_at(place: Location) -> Found:
    """Raises `AnimaticError` where the place is no model folder, or one of another kind of model."""
    folder = place.folder
    index = read_json(folder / "model_index.json")
    card = read_card(folder)
    part = "transformer" if "transformer" in index else "unet"
    kind = class_in(index, part)
    if kind not in NETWORKS:
        raise AnimaticError(f"{folder}: its {part} is {kind!r}; want one of {', '.join(NETWORKS)}")

    # A misspelt key would have no effect without a word.
    unknown = sorted(card.keys() - CARD)
    if unknown:
        warn(f"{folder}/animatic.json: {listed(unknown)} is not known and not used; known are {listed(sorted(CARD))}")

    # Which known model it is: as requested, by its card, or else by its configuration.
    library = index[part][0]
    config = {**read_json(folder / part / "config.json"), "_class_name": kind, "_library": library}
    is_named = place.preset is not None or not card.keys().isdisjoint(("model", "family"))
    alike = () if is_named else known_by_config(config)
    known = PRESETS[alike[0]] if alike else place.preset or known_by_card(folder, card)
    return Found(place.name, folder, index, card, config, known, alike)


def concat_conditioning_of(name: str) -> ConcatConditioning | None:
    """The concatenated conditioning of the model called `name` (see `locate`), by its card; no weights are read."""
    preset = PRESETS.get(name)
    if preset and preset.source and not preset.source.startswith(CONVERT_COMMAND):  # its folder has no card
        return preset.concat_conditioning

    # A folder's card goes before what is known of the model.
    found = locate(name)
    by_preset = found.preset and found.preset.concat_conditioning
    return conditioning_of_card(read_card(found.folder)) or by_preset


def _read(found: Found, dtype: torch.dtype, half: bool) -> Components:
    # Text encoder and VAE may be those of another model.
    rest = found.folder
    source = found.card.get("parts")
    if source:
        rest = Path(source) if Path(source).is_dir() else fetched(found.name, source, SHARED, half)

    # The refiner has the class of Stable Diffusion's network, and reads more.
    cls = found.cls
    network = cls.read(found.folder / cls.network_folder, dtype)
    if network.config.get("addition_embed_type") == "text_time":
        cls = Refiner
    vae = _codec(rest / "vae", torch.float32 if cls.full_precision_vae else dtype)
    if "class_vectors" in found.card:
        text = _labels(found.folder, found.card)
    else:
        text = _text(found.name, cls, network, rest, dtype)

    # The model, and what its card or the known model says besides.
    model = cls(
        found.name,
        network,
        vae,
        text,
        _scheduler(found.folder / "scheduler"),
        found.geometry(network.config, vae.config),
        found.defaults(),
        found.card.get("coordinates", False),
        tuple(found.card.get("words", ())),
    )
    model.family = found.known.family if found.known else ""
    with reading_card(found.folder):
        own = conditioning_of_card(found.card)
        model.concat_conditioning = own or (found.known and found.known.concat_conditioning)
    model.read_extras(found.folder, found.index, dtype)
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

    # Some VAEs overflow in half precision (SDXL's), which their config says.
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
        tokenizer = read_tokenizer(folder / "tokenizer_2", encoder.config.vocab_size)
        return RefinerText(name, tokenizer, encoder)

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
    encoder = read_network(ENCODERS[encoder_class], folder / "text_encoder", dtype, **options)
    tokenizer = read_tokenizer(folder / "tokenizer", encoder.config.vocab_size)
    if is_bert:
        return BertSentence(name, tokenizer, encoder)
    if encoder_class == CLIP:
        text_class = ClipSentence if cls is SpaceTimeBackbone else ClipText
        return text_class(name, tokenizer, encoder)
    if cls is CogVideoX:
        return T5Text(name, tokenizer, encoder, network.config.max_text_seq_length)
    return T5Text(name, tokenizer, encoder, min(WAN_TEXT_TOKENS, tokenizer.model_max_length), masked=True)
