"""Models without weights, on torch's meta device: shapes and numbers of parameters, no memory.

Configurations of the models known by name are in `published.json`, as their repositories have them (each fact's source
stands in `tests/real`); those of a folder are read from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from ..core.backbone import Geometry, ModelDefaults
from ..errors import AnimaticError
from ..quiet import quiet
from .attention_processors import WAN_TEXT_TOKENS
from .card_values import has_coordinates
from .codec import PatchCodec
from .components import Components
from .folder import class_in, read_card, read_json, reading_card
from .grounding import add_grounding
from .hunyuan import HunyuanVideo
from .hunyuan_text import GLYPH_TOKENS, WORD_TOKENS
from .lavie import CARDS
from .load import CLIP_PROJECTION, NETWORKS, found_at
from .locating import Location, check_not_former, locate
from .ltx import LTX_TEXT_TOKENS, LTXVideo
from .network_size import limited_network
from .parts import CLIP, ENCODERS, SD3_TEXT_TOKENS
from .presets import CONVERT_COMMAND, PRESETS
from .sd3 import StableDiffusion3
from .sdxl import class_of_xl
from .unet3d import UNet3D

CLIP_TOKENS = 77
TI2V_CHANNELS = 48  # of Wan 2.2 5B, which reads a timestep for every token
TEXT_FOLDERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
LANGUAGE_MODEL = "Qwen2_5_VLTextModel"  # of HunyuanVideo 1.5
NOT_OF_THE_MODEL = ("architectures", "model_type", "torch_dtype")  # keys of a text encoder's configuration
WITH_PROJECTION = "CLIPTextModelWithProjection"


class TextEncoders(nn.Module):
    """A model's text encoders without tokenizers; each reads as many tokens of a prompt as its number in `limits`.

    The network reads `length` states of `width` channels: those of several CLIP encoders are concatenated along
    channels; where T5 is the third (Stable Diffusion 3), its states follow along tokens, and CLIP's are padded.
    `pooled` are the channels of the pooled embedding that it reads besides, 0 for none.
    """

    def __init__(self, encoders: Sequence[Any], limits: Sequence[int]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.limits = tuple(limits)
        widths = [encoder.config.hidden_size for encoder in encoders]
        in_sequence = len(encoders) > 2
        self.length = limits[0] + limits[-1] if in_sequence else limits[0]
        self.width = max(widths) if in_sequence else sum(widths)
        projecting = [encoder for encoder in encoders if type(encoder).__name__ in WITH_PROJECTION]
        self.pooled = sum(encoder.config.projection_dim for encoder in projecting)


@dataclass(frozen=True)
class Skeleton:
    """A model without weights.

    `model`: its components on the meta device. `second`: the second network of Wan 2.2 A14B. `dtype`: the type of its
    weights on a GPU, `vae_dtype` that of its autoencoder where it is always the same. `download`: bytes that are
    fetched of the hub, by type of the weights, where they are known. `source`: its hub id; "" for a folder.
    """

    model: Components
    second: Any = None
    dtype: str = "float32"
    vae_dtype: str = ""
    download: Mapping[str, int] | None = None
    source: str = ""


@cache
def published() -> Any:
    """`published.json`: configurations by name, and which of them the parts of each known model have."""
    return json.loads((files("animatic") / "backbones" / "published.json").read_text())


@quiet()
def skeleton(name: str) -> Skeleton:
    """The model called `name`: a name of PRESETS, its hub id, or a folder. Nothing is fetched, and no weights are read.

    Raises `AnimaticError` where the model is unknown, or its text encoder is none of CLIP's and T5's.
    """
    preset = PRESETS.get(name)
    if preset and preset.source:
        return _of_preset(name)
    place = locate(name) if preset else _folder(name)
    return _of_folder(place)


def _folder(name: str) -> Location:
    path = Path(name)
    if not path.is_dir():
        check_not_former(name)
        known = ", ".join(PRESETS)
        raise AnimaticError(f"unknown model {name!r}; known: {known}, or a folder in diffusers layout")
    return Location(path, path.name, str(path))


def _of_preset(name: str) -> Skeleton:
    preset = PRESETS[name]
    known = published()
    if name not in known["models"]:
        raise AnimaticError(f"rehearse does not know the configurations of {name!r}; want a folder of it")
    parts = known["models"][name]
    configs = {part: known["configurations"][key] for part, key in parts.items() if part != "download"}

    # LaVie's networks are this project's own classes.
    geometry, defaults = preset.geometry, preset.defaults
    if preset.source.startswith(CONVERT_COMMAND):
        card = CARDS[name]
        configs["unet"] = {"_class_name": "LaVieUNet", **card["unet"]}
        geometry, defaults = card["geometry"], card["defaults"]

    encoders = [configs[part] for part in TEXT_FOLDERS if part in configs]
    encoder_classes = [config["architectures"][0] for config in encoders]
    made = _assembled(name, configs, encoder_classes, encoders, geometry, defaults)
    made.family = preset.family
    made.concat_conditioning = preset.concat_conditioning
    second = None
    if "transformer_2" in configs:
        second = _network(configs["transformer_2"])
    source = "" if preset.source.startswith(CONVERT_COMMAND) else preset.source
    return Skeleton(made, second, preset.dtype, _vae_dtype(made, configs), parts.get("download"), source)


def _of_folder(place: Location) -> Skeleton:
    found = found_at(place)
    folder = found.folder
    part = found.cls.network_folder
    configs = {part: {**found.config, "_class_name": class_in(found.index, part)}}
    if "class_vectors" in found.card:
        raise AnimaticError(f"{folder}: is conditioned on classes; rehearse covers models of text")

    # Its parts may be those of another folder; a hub id would have to be fetched.
    rest = Path(read_card(folder).get("parts", folder))
    if not rest.is_dir():
        raise AnimaticError(f"{folder}: its parts are {str(rest)!r}, which is no folder here; want their folder")
    configs["vae"] = read_json(rest / "vae" / "config.json")
    index_file = rest / "model_index.json"
    index = read_json(index_file) if index_file.exists() else {}
    text_parts = [name for name in TEXT_FOLDERS if class_in(index, name)] or ["text_encoder"]
    encoders = [read_json(rest / name / "config.json") for name in text_parts]
    encoder_classes = [class_in(index, name) or CLIP for name in text_parts]

    with torch.device("meta"):
        sizes = _network(configs[part]).config
        vae_config = _vae(configs["vae"]).config
    geometry = found.geometry(sizes, vae_config)
    made = _assembled(place.name, configs, encoder_classes, encoders, geometry, found.defaults())
    with reading_card(folder):
        made.coordinates = has_coordinates(found.card)
    made.family = found.known.family if found.known else ""
    second = None
    if class_in(found.index, "transformer_2"):
        second = _network(
            read_json(folder / "transformer_2" / "config.json") | {"_class_name": configs[part]["_class_name"]}
        )
    dtype = found.known.dtype if found.known and found.known.source else "float32"
    return Skeleton(made, second, dtype, _vae_dtype(made, configs))


def _vae_dtype(model: Components, configs: Mapping[str, Any]) -> str:
    """ "float32" where `load` reads the autoencoder in it, whatever the type of the network; else ""."""
    is_upcast = configs["vae"].get("force_upcast", False)
    return "float32" if model.full_precision_vae or is_upcast else ""


def _assembled(
    name: str,
    configs: Mapping[str, Any],
    encoder_classes: Sequence[str],
    encoders: Sequence[Mapping[str, Any]],
    geometry: Geometry | None,
    defaults: ModelDefaults | None,
) -> Components:
    part = "transformer" if "transformer" in configs else "unet"
    config = configs[part]
    cls: Any = NETWORKS[config["_class_name"]]
    network = _network(config)
    if config.get("addition_embed_type") == "text_time":
        pooled = encoders[-1].get("projection_dim", CLIP_PROJECTION)
        cls = class_of_xl(name, pooled, config)
    vae = _vae(configs["vae"])
    made = [_encoder(cls, network, each, own) for each, own in zip(encoder_classes, encoders, strict=True)]
    text: Any = TextEncoders([encoder for encoder, _ in made], [limit for _, limit in made])

    # The scheduler takes no part: one of its class is enough.
    scheduler = diffusers.DDIMScheduler()
    geometry = geometry or cls.native_geometry(network.config, vae.config)
    model = cls(name, network, vae, text, scheduler, geometry, defaults or ModelDefaults())
    if "UMT5EncoderModel" in encoder_classes:
        model.timestep_per_token = config["in_channels"] == TI2V_CHANNELS
    return model.freeze()


def _network(config: Mapping[str, Any]) -> Any:
    cls = NETWORKS[config["_class_name"]]
    own = {key: value for key, value in config.items() if not key.startswith("_")}
    gated = own.get("attention_type") == "gated" or own.pop("use_gated_attention", False)
    if gated and cls is UNet3D:
        own.pop("attention_type", None)
    elif gated:
        own["attention_type"] = "gated"

    with torch.device("meta"), limited_network("the network"):
        network = cls.network.from_config(own)
        if gated and cls is UNet3D:
            add_grounding(network)
    return network


def _vae(config: Mapping[str, Any]) -> Any:
    name = str(config.get("_class_name", ""))
    cls = PatchCodec if name == "PatchCodec" else getattr(diffusers, name, None)
    if cls is None:
        raise AnimaticError(f"autoencoder {name!r} is not known; want one of diffusers' or PatchCodec")
    with torch.device("meta"), limited_network("the autoencoder"):
        return cls.from_config(dict(config))


def _encoder(cls: Any, network: Any, text_class: str, config: Mapping[str, Any]) -> tuple[Any, int]:
    """A text encoder, and how many tokens of a prompt it reads."""
    if text_class == LANGUAGE_MODEL:
        return _language_model(config), WORD_TOKENS
    if text_class not in (*ENCODERS, WITH_PROJECTION) or text_class == "BertModel":
        raise AnimaticError(f"text encoder {text_class!r} cannot be rehearsed; want one of CLIP's or T5's")
    encoder_class = getattr(transformers, text_class)
    own = {key: value for key, value in config.items() if key not in NOT_OF_THE_MODEL}
    with torch.device("meta"), limited_network("the text encoder"):
        encoder = encoder_class(encoder_class.config_class(**own))

    # As many tokens as the network was trained on.
    positions = config.get("max_position_embeddings", CLIP_TOKENS)
    limit = min(positions, network.config.get("max_text_seq_length", positions))
    if text_class == "T5EncoderModel":
        known = {StableDiffusion3: SD3_TEXT_TOKENS, LTXVideo: LTX_TEXT_TOKENS, HunyuanVideo: GLYPH_TOKENS}
        of_pipeline = known.get(cls)
        limit = of_pipeline or network.config.max_text_seq_length
    if text_class == "UMT5EncoderModel":
        limit = WAN_TEXT_TOKENS
    return encoder, limit


def _language_model(config: Mapping[str, Any]) -> Any:
    from transformers import Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel  # slow to import

    own = {key: value for key, value in config.items() if key not in NOT_OF_THE_MODEL}
    with torch.device("meta"), limited_network("the text encoder"):
        return Qwen2_5_VLTextModel(Qwen2_5_VLTextConfig(**own))
