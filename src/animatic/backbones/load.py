"""A model by name or folder: every folder in diffusers layout with a UNet, a VAE and a CLIP text encoder.

What diffusers has no word for (native size, habits, vocabulary) stands in PRESETS, or in `animatic.json` in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from diffusers.models.model_loading_utils import load_state_dict
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from ..errors import AnimaticError
from ..text import ClipText
from .base import Components, Geometry, Habits
from .beside import Beside, Noised, beside_of
from .codec import PatchCodec
from .grounding import add_grounding, is_grounding
from .lavie import LaVie, models_home
from .lavie_unet import LaVieUNet
from .small import SpaceTimeUNet
from .small_model import Labels, Sentence, Small
from .unet2d import Refiner, RefinerText, UNet2D
from .unet3d import UNet3D

CONVERT = "animatic convert lavie "  # of a source: what makes it, where no hub has it
OWN: dict[str, Any] = {"SpaceTimeUNet": SpaceTimeUNet, "LaVieUNet": LaVieUNet}
POOR = "blurry, low quality, distorted, watermark, text"


@dataclass(frozen=True)
class Preset:
    """A known model: where its weights are (a hub id, or "" for the bundled ones), its size and habits."""

    source: str
    about: str
    geometry: Geometry | None = None
    habits: Habits | None = None
    beside: Beside | None = None


SQUARE, WIDE = Geometry(16, 256, 256), Geometry(24, 320, 576)  # LVD README
PICTURE = Geometry(1, 512, 512, max_frames=1)
FILM, STILL = Habits(40, 9.0, POOR, "dpm++"), Habits(50, 7.5, POOR, "ddim")  # LVD, LMD README
REVISION = "blurry, low quality, distorted, dull, gray, unrealistic, watermark, text"
PRESETS = {
    "mini": Preset("", "toy world, bundled, runs on a laptop CPU, reads boxes"),
    "modelscope": Preset("ali-vilab/text-to-video-ms-1.7b", "ModelScope text-to-video, 1.4 B", SQUARE, FILM),
    "zeroscope": Preset("cerspense/zeroscope_v2_576w", "Zeroscope v2, 1.4 B", WIDE, FILM),
    "modelscope-gligen": Preset("longlian/text-to-video-lvd-ms", "ModelScope that reads boxes", SQUARE, FILM),
    "zeroscope-gligen": Preset("longlian/text-to-video-lvd-zs", "Zeroscope that reads boxes", WIDE, FILM),
    "sd15": Preset("stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion 1.5, images", PICTURE, STILL),
    "sd21": Preset("stabilityai/stable-diffusion-2-1-base", "Stable Diffusion 2.1, images", PICTURE, STILL),
    "sd14-gligen": Preset(
        "gligen/diffusers-generation-text-box", "Stable Diffusion 1.4 that reads boxes", PICTURE, STILL
    ),
    "sd21-gligen": Preset("longlian/igligen-sd2.1-v1.0", "Stable Diffusion 2.1 that reads boxes", PICTURE, STILL),
    "mini-interpolate": Preset("", "frames between those of the toy world"),
    "mini-upscale": Preset("", "the toy world at twice the size"),
    "lavie": Preset(f"{CONVERT}lavie_base.pt", "LaVie text to video, 320 x 512 x 16, 0.9 B"),
    "lavie-interpolation": Preset(f"{CONVERT}lavie_interpolation.pt", "LaVie, 16 frames to 61"),
    "lavie-vsr": Preset(f"{CONVERT}lavie_vsr.pt", "LaVie, four times the size"),
    "sd-x4": Preset(
        "stabilityai/stable-diffusion-x4-upscaler",
        "Stable Diffusion, four times the size, frame by frame",
        Geometry(8, 512, 512, stride=4),
        Habits(75, 9.0, REVISION),
        Noised(),
    ),
    "zeroscope-xl": Preset(
        "cerspense/zeroscope_v2_XL",
        "Zeroscope that makes large video of upscaled video",
        Geometry(24, 576, 1024),
        Habits(50, 15.0, REVISION, "dpm++"),
    ),
    "sdxl-refiner": Preset(
        "stabilityai/stable-diffusion-xl-refiner-1.0",
        "Stable Diffusion XL's refiner, frame by frame",
        Geometry(1, 1024, 1024),
        Habits(50, 5.0, REVISION),
    ),
}
UNETS = {"UNet3DConditionModel": UNet3D, "UNet2DConditionModel": UNet2D, "SpaceTimeUNet": Small, "LaVieUNet": LaVie}
PARTS = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")


def load(name: str = "mini", device: str = "") -> Components:
    """The model called `name` (see PRESETS) or in the folder `name`, frozen, on `device` ("": a GPU if there is one).

    Raises `AnimaticError` where it is unknown, incomplete or damaged.
    """
    preset = PRESETS.get(name)
    folder = Path(name) if preset is None else _folder(name, preset)
    if preset is None and not folder.is_dir():
        raise AnimaticError(f"unknown model {name!r}; known: {', '.join(PRESETS)}, or a folder in diffusers layout")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return _read(name if preset else folder.name, folder, preset, torch.device(device))


def _folder(name: str, preset: Preset) -> Path:
    if not preset.source:
        return Path(str(files("animatic") / "weights" / name))
    if preset.source.startswith(CONVERT):
        if not (folder := models_home() / name).is_dir():
            raise AnimaticError(f"{name} is not on this machine; get its checkpoint, then: {preset.source}")
        return folder
    return _fetched(name, preset.source, ("unet", "scheduler", *PARTS))


def _fetched(name: str, source: str, parts: Sequence[str]) -> Path:
    wanted = [f"{part}/*" for part in parts]
    try:
        return Path(snapshot_download(source, allow_patterns=["model_index.json", *wanted]))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        reason = type(error).__name__
        raise AnimaticError(f"{name}: {source} is not on this machine and cannot be fetched ({reason})") from None


def _read(name: str, folder: Path, preset: Preset | None, device: torch.device) -> Components:
    index = _json(folder / "model_index.json")
    card = _json(folder / "animatic.json") if (folder / "animatic.json").exists() else {}
    kind = index.get("unet", [None, None])[1]
    if kind not in UNETS:
        raise AnimaticError(f"{folder}: its unet is {kind!r}; want one of {', '.join(UNETS)}")
    dtype = torch.float16 if device.type == "cuda" and preset and preset.source else torch.float32
    rest = folder
    if source := card.get("parts"):  # text encoder and VAE are another model's
        rest = Path(source) if Path(source).is_dir() else _fetched(name, source, PARTS)
    vae_class = _json(rest / "vae" / "config.json").get("_class_name", "")
    vae_type = PatchCodec if vae_class == "PatchCodec" else getattr(diffusers, str(vae_class), None)
    if vae_type is None:
        raise AnimaticError(
            f"{rest}/vae: its class is {vae_class!r}; want one of diffusers' autoencoders or PatchCodec"
        )
    unet = _unet(kind, folder, dtype)
    geometry = _geometry(card, preset, kind, unet, rest)
    cls = Refiner if unet.config.get("addition_embed_type") == "text_time" else UNETS[kind]
    full = _json(rest / "vae" / "config.json").get("force_upcast", False)
    vae = _weights(vae_type, rest / "vae", torch.float32 if full else dtype)
    if "class_vectors" in card:
        text = Labels.read(card)
    else:
        second = "_2" if cls is Refiner else ""
        encoder = _weights(
            CLIPTextModelWithProjection if second else CLIPTextModel, rest / f"text_encoder{second}", dtype
        )
        words = {Small: Sentence, Refiner: RefinerText}.get(cls, ClipText)
        text = words(name, _tokenizer(rest / f"tokenizer{second}", encoder.config.vocab_size), encoder)
    scheduler_class = getattr(
        diffusers, _json(folder / "scheduler" / "scheduler_config.json").get("_class_name", ""), None
    )
    if scheduler_class is None:
        raise AnimaticError(f"{folder}/scheduler: no diffusers scheduler is named in scheduler_config.json")
    scheduler = scheduler_class.from_pretrained(folder / "scheduler")
    model = cls(
        name,
        unet,
        vae,
        text,
        scheduler,
        geometry=geometry,
        habits=Habits(**card["habits"]) if "habits" in card else (preset and preset.habits) or Habits(),
        coordinates=card.get("coordinates", False),
        words=tuple(card.get("words", ())),
    )
    model.beside = beside_of(card) or (preset and preset.beside)
    for part in (unet, vae, text):
        part.to(device)
    return model.freeze()


def _unet(kind: str, folder: Path, dtype: torch.dtype) -> Any:
    """The network, with grounding where its weights have it.

    Image models: GLIGEN's folders, the older ones too ("use_gated_attention"). Video models: IGLIGEN's folders, whose
    unet holds all, or a folder `grounding` with what it adds.
    """
    config = _json(folder / "unet" / "config.json")
    gated = config.get("attention_type") == "gated" or config.get("use_gated_attention", False)
    if kind == "UNet2DConditionModel":
        return _weights(UNet2DConditionModel, folder / "unet", dtype, **({"attention_type": "gated"} if gated else {}))
    if kind in OWN:
        return _weights(OWN[kind], folder / "unet", dtype)
    unet = _weights(UNet3DConditionModel, folder / "unet", dtype)
    source = folder / "grounding" if (folder / "grounding").is_dir() else folder / "unet" if gated else None
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


def _geometry(card: dict[str, Any], preset: Preset | None, kind: str, unet: Any, rest: Path) -> Geometry:
    if "geometry" in card:
        return Geometry(**card["geometry"])
    if preset and preset.geometry:
        return preset.geometry
    stride = 2 ** (len(_json(rest / "vae" / "config.json")["block_out_channels"]) - 1)
    size = unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    frames, most = (16, 1024) if kind == "UNet3DConditionModel" else (1, 1)
    return Geometry(frames, height * stride, width * stride, unet.config.out_channels, stride, max_frames=most)


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
    if not any((folder / file).exists() for file in ("tokenizer.json", "vocab.json")):
        raise AnimaticError(
            f"{folder}: no tokenizer; want tokenizer.json or vocab.json"
        )  # else an empty one is made up
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if len(tokenizer) > vocabulary:
        raise AnimaticError(
            f"{folder}: {len(tokenizer)} tokens, but the text encoder knows {vocabulary}; they do not belong together"
        )
    return tokenizer
