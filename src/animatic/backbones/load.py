"""A model by name or folder: every folder in diffusers layout with a UNet or transformer, a VAE and a text encoder.

What diffusers has no word for (native size, habits, vocabulary) stands in PRESETS, or in `animatic.json` in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from diffusers.models.model_loading_utils import load_state_dict
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, UMT5EncoderModel

from ..errors import AnimaticError
from ..text import ClipText, T5Text
from .base import Components, Geometry, Habits
from .beside import beside_of
from .codec import PatchCodec
from .cogvideox import CogVideoX, patch_of
from .economy import Economy
from .grounding import add_grounding, is_grounding
from .lavie import LaVie, models_home
from .lavie_unet import LaVieUNet
from .presets import CONVERT, PRESETS, WAN, Preset
from .small import SpaceTimeUNet
from .small_model import Labels, Sentence, Small
from .unet2d import Refiner, RefinerText, UNet2D
from .unet3d import UNet3D
from .wan import Wan

NETWORKS: dict[str, type[Components]] = {
    "UNet3DConditionModel": UNet3D,
    "UNet2DConditionModel": UNet2D,
    "SpaceTimeUNet": Small,
    "LaVieUNet": LaVie,
    "CogVideoXTransformer3DModel": CogVideoX,
    "WanTransformer3DModel": Wan,
}
ENCODERS: dict[str, Any] = {
    "CLIPTextModel": CLIPTextModel,
    "T5EncoderModel": T5EncoderModel,
    "UMT5EncoderModel": UMT5EncoderModel,
}
TRANSFORMERS = ("CogVideoXTransformer3DModel", "WanTransformer3DModel")
NO_ECONOMY = Economy()
WAN_WORDS = 512  # tokens that Wan was trained on
OWN: dict[str, Any] = {"SpaceTimeUNet": SpaceTimeUNet, "LaVieUNet": LaVieUNet}
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
    index = _json(folder / "model_index.json")
    card = _json(folder / "animatic.json") if (folder / "animatic.json").exists() else {}
    part = "transformer" if "transformer" in index else "unet"
    kind = index.get(part, [None, None])[1]
    if kind not in NETWORKS:
        raise AnimaticError(f"{folder}: its {part} is {kind!r}; want one of {', '.join(NETWORKS)}")
    rest = folder
    if source := card.get("parts"):  # text encoder and VAE are another model's
        rest = Path(source) if Path(source).is_dir() else _fetched(name, source, TOLD)
    coded = _json(rest / "vae" / "config.json")
    vae_class = str(coded.get("_class_name", ""))
    vae_type = PatchCodec if vae_class == "PatchCodec" else getattr(diffusers, vae_class, None)
    if vae_type is None:
        raise AnimaticError(
            f"{rest}/vae: its class is {vae_class!r}; want one of diffusers' autoencoders or PatchCodec"
        )
    network = _network(kind, folder / part, dtype)
    refiner = network.config.get("addition_embed_type") == "text_time"
    full = kind == "WanTransformer3DModel" or coded.get("force_upcast", False)
    vae = _weights(vae_type, rest / "vae", torch.float32 if full else dtype)
    geometry = _geometry(card, preset, kind, network, vae)
    text = Labels.read(card) if "class_vectors" in card else _text(name, kind, network, rest, dtype, refiner)
    scheduler_class = getattr(
        diffusers, _json(folder / "scheduler" / "scheduler_config.json").get("_class_name", ""), None
    )
    if scheduler_class is None:
        raise AnimaticError(f"{folder}/scheduler: no diffusers scheduler is named in scheduler_config.json")
    scheduler = scheduler_class.from_pretrained(folder / "scheduler")
    model = (Refiner if refiner else NETWORKS[kind])(
        name,
        network,
        vae,
        text,
        scheduler,
        geometry=geometry,
        habits=Habits(**card["habits"]) if "habits" in card else (preset and preset.habits) or Habits(),
        coordinates=card.get("coordinates", False),
        words=tuple(card.get("words", ())),
    )
    model.beside = beside_of(card) or (preset and preset.beside)
    if isinstance(model, Wan):
        second = index.get("transformer_2") or [None, None]
        low = _network(kind, folder / "transformer_2", dtype) if second[1] else None
        model.extend(low, index.get("boundary_ratio") or 0.0, bool(index.get("expand_timesteps")))
    return model


def _text(name: str, kind: str, network: Any, folder: Path, dtype: torch.dtype, refiner: bool) -> ClipText:
    """The text encoder with its tokenizer; of the T5 family with as many tokens as the network was trained on."""
    if refiner:  # reads with the second of SDXL's two encoders
        encoder = _weights(CLIPTextModelWithProjection, folder / "text_encoder_2", dtype)
        return RefinerText(name, _tokenizer(folder / "tokenizer_2", encoder.config.vocab_size), encoder)
    index = _json(folder / "model_index.json") if (folder / "model_index.json").exists() else {}
    encoder_class = (index.get("text_encoder") or [None, "CLIPTextModel"])[1]
    if encoder_class not in ENCODERS:
        raise AnimaticError(f"{folder}: its text_encoder is {encoder_class!r}; want one of {', '.join(ENCODERS)}")
    encoder = _weights(ENCODERS[encoder_class], folder / "text_encoder", dtype)
    tokenizer = _tokenizer(folder / "tokenizer", encoder.config.vocab_size)
    if encoder_class == "CLIPTextModel":
        return (Sentence if kind == "SpaceTimeUNet" else ClipText)(name, tokenizer, encoder)
    if kind == "CogVideoXTransformer3DModel":
        return T5Text(name, tokenizer, encoder, network.config.max_text_seq_length)
    return T5Text(name, tokenizer, encoder, min(WAN_WORDS, tokenizer.model_max_length), masked=True)


def _network(kind: str, folder: Path, dtype: torch.dtype) -> Any:
    """The network, with grounding where its weights have it.

    Image models: GLIGEN's folders, the older ones too ("use_gated_attention"). Video models: IGLIGEN's folders, whose
    unet holds all, or a folder `grounding` with what it adds.
    """
    config = _json(folder / "config.json")
    gated = config.get("attention_type") == "gated" or config.get("use_gated_attention", False)
    if kind == "UNet2DConditionModel":
        return _weights(UNet2DConditionModel, folder, dtype, **({"attention_type": "gated"} if gated else {}))
    if kind in OWN:
        return _weights(OWN[kind], folder, dtype)
    if kind in TRANSFORMERS:
        read, told = config.get("in_channels"), config.get("out_channels")
        if told and read != told:
            raise AnimaticError(f"{folder}: reads {read} channels and answers {told}; want a text-to-video model")
        if config.get("added_kv_proj_dim"):
            raise AnimaticError(f"{folder}: looks at a picture (added_kv_proj_dim); want a text-to-video model")
        return _weights(getattr(diffusers, kind), folder, dtype)
    unet = _weights(UNet3DConditionModel, folder, dtype)
    beside = folder.parent / "grounding"
    source = beside if beside.is_dir() else folder if gated else None
    if source:
        add_grounding(unet)
        state = _state(source)
        wanted, found = ({n for n in names if is_grounding(n)} for names in (dict(unet.named_parameters()), state))
        if wanted != found:
            odd = sorted(wanted ^ found)
            raise AnimaticError(f"{source}: its grounding does not fit; {len(odd)} weights differ, first {odd[0]}")
        unet.load_state_dict({name: state[name] for name in wanted}, strict=False)
        unet.to(dtype)
    return unet


def _state(folder: Path) -> dict[str, torch.Tensor]:
    """All weights in a folder, safetensors or torch's, of the latter no code."""
    files = sorted(folder.glob("diffusion_pytorch_model*.safetensors")) or sorted(folder.glob("*.bin"))
    if not files:
        raise AnimaticError(f"{folder}: no weights; want diffusion_pytorch_model.safetensors")
    try:
        return {name: value for file in files for name, value in load_state_dict(file).items()}
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise AnimaticError(f"{folder}: weights are damaged ({str(error).splitlines()[0]})") from None


def _geometry(card: dict[str, Any], preset: Preset | None, kind: str, unet: Any, vae: Any) -> Geometry:
    if "geometry" in card:
        told = card["geometry"]
        return Geometry(**{**told, "patch": tuple(told.get("patch", (1, 1, 1)))})
    if preset and preset.geometry:
        return preset.geometry
    if kind in TRANSFORMERS:
        return _film_geometry(unet.config, vae.config)
    stride = 2 ** (len(vae.config.block_out_channels) - 1)
    size = unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    frames, most = (16, 1024) if kind == "UNet3DConditionModel" else (1, 1)
    return Geometry(frames, height * stride, width * stride, unet.config.out_channels, stride, max_frames=most)


def _film_geometry(network: Any, vae: Any) -> Geometry:
    """Of a transformer. Wan's config has no native size: that of Wan 2.1 then."""
    if "sample_frames" in network:
        stride, pace = 2 ** (len(vae.block_out_channels) - 1), vae.temporal_compression_ratio
        frames, height, width = network.sample_frames, network.sample_height * stride, network.sample_width * stride
    else:
        stride, pace = vae.scale_factor_spatial, vae.scale_factor_temporal
        frames, height, width = WAN.frames, WAN.height, WAN.width
    channels = network.out_channels or network.in_channels
    return Geometry(frames, height, width, channels, stride, pace=pace, patch=patch_of(network))


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AnimaticError(
            f"{path}: cannot be read ({error.strerror}); want a model folder in diffusers layout"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnimaticError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise AnimaticError(f"{path}: found {type(data).__name__}; want a JSON object")
    return data


def _weights(cls: Any, folder: Path, dtype: torch.dtype, **config: str) -> Any:
    """A network with every weight from its file: missing ones would silently stay random."""
    for listed in folder.glob("*.index.json"):
        parts = sorted(set(_json(listed).get("weight_map", {}).values()))
        missing = [part for part in parts if not (folder / part).exists()]
        if missing:
            raise AnimaticError(
                f"{folder}: {len(missing)} of {len(parts)} weight files are missing, the first is {missing[0]}"
            )
    try:
        network, report = cls.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, local_files_only=True, **config
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise AnimaticError(f"{folder}: weights are missing or damaged ({str(error).splitlines()[0]})") from None
    missing = sorted(report["missing_keys"])
    if missing:
        raise AnimaticError(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
    return network


def _tokenizer(folder: Path, vocabulary: int) -> Any:
    found = [file for file in ("tokenizer.json", "vocab.json", "spiece.model") if (folder / file).exists()]
    if not found:  # else an empty one is made up
        raise AnimaticError(f"{folder}: no tokenizer; want tokenizer.json, vocab.json or spiece.model")
    if found == ["spiece.model"] and not find_spec("sentencepiece"):
        raise AnimaticError(f"{folder}: spiece.model needs sentencepiece and protobuf; pip install 'animatic[t5]'")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise AnimaticError(f"{folder}: the tokenizer cannot be read ({str(error).splitlines()[0]})") from None
    if len(tokenizer) > vocabulary:
        raise AnimaticError(
            f"{folder}: {len(tokenizer)} tokens, but the text encoder knows {vocabulary}; they do not belong together"
        )
    return tokenizer
