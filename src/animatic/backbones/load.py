"""A model by name, folder or hub id: all in diffusers layout with a UNet or transformer, a VAE and a text encoder.

What diffusers cannot express (native size, defaults, vocabulary, the family whose settings the methods use) is in
PRESETS, or in the folder's card `animatic.json`; without a card the network's configuration decides (`identity`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from ..core.backbone import ConcatConditioning, Geometry, MemoryOptions, ModelDefaults
from ..core.model_options import DEFAULT_MODEL
from ..errors import AnimaticError, listed, warn
from ..quiet import quiet
from .card_values import backgrounds_of, defaults_of, geometry_of, has_coordinates, words_of
from .cogvideox import CogVideoX
from .components import Components
from .concat_conditioning import conditioning_of_card
from .fetching import fetched
from .folder import class_in, read_card, read_json, reading_card
from .hunyuan import HunyuanVideo
from .identity import INHERITED, known_by_card, known_by_config
from .lavie import LaVie
from .layouts import check_original
from .locating import SHARED, Location, locate
from .ltx import LTXVideo
from .memory import apply_memory_options
from .parts import read_codec, read_labels, read_scheduler, read_text_encoder
from .plugged import load_plugged, reader_of
from .presets import CONVERT_COMMAND, PRESETS, Preset
from .sd3 import StableDiffusion3
from .sdxl import class_of_xl
from .single_file import read_single_file, single_file
from .small_model import SpaceTimeBackbone
from .unet2d import UNet2D
from .unet3d import UNet3D
from .usage import warn_of_usage
from .wan import Wan

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

CLASSES = (UNet3D, UNet2D, SpaceTimeBackbone, LaVie, CogVideoX, Wan, LTXVideo, HunyuanVideo, StableDiffusion3)
NETWORKS = {cls.network.__name__: cls for cls in CLASSES}
TRANSFORMERS = tuple(name for name, cls in NETWORKS.items() if cls.network_folder == "transformer")
NO_MEMORY_OPTIONS = MemoryOptions()
CLIP_PROJECTION = 512  # `projection_dim` where a configuration of CLIP does not say it
CARD = {
    "model",
    "family",
    "geometry",
    "defaults",
    "coordinates",
    "words",
    "backgrounds",
    "concat_conditioning",
    "classes",
    "class_vectors",
    "parts",
}


@quiet()
def load(
    name: str | os.PathLike[str] | DiffusionPipeline = DEFAULT_MODEL,
    device: str = "",
    memory: MemoryOptions = NO_MEMORY_OPTIONS,
    adapt: Callable[[Components], object] | None = None,
) -> Components:
    """The model called `name` (see PRESETS), in the folder or file or with the hub id `name`, frozen, on `device`.

    Models and kinds of folders may also be those of installed packages, see `plugged`. A hub id may have a revision,
    owner/name@revision; a file the model whose configurations it has, FILE@MODEL. `device` "" is a GPU if there is one.
    `memory` are options to save memory; `adapt` may change the weights before. Of a loaded pipeline of diffusers the
    modules are used as and where they are, see `pipeline`. Raises `AnimaticError` where the model is unknown,
    incomplete or damaged.
    """
    if not isinstance(name, (str, os.PathLike)):
        return _borrowed(name, device, memory)
    name = os.fspath(name)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if point := reader_of(name, is_known):
        return cast("Components", load_plugged(point, name, device, memory, adapt))
    if file := single_file(name):
        return _of_single_file(*file, device, memory, adapt)
    half = memory.dtype == "float16"
    place = locate(name, half)
    found = found_at(place)

    # The type: as requested, else on a GPU the model's own, which bundled models leave open.
    dtype = memory.dtype
    if not dtype:
        is_published = found.known is not None and found.known.source
        dtype = found.known.dtype if found.known and is_published and device.startswith("cuda") else "float32"
    model = _read(found, getattr(torch, dtype), half)

    warn_of_usage(model, found)
    return _ready(model, place.reference, device, memory, adapt)


def _ready(
    model: Components,
    reference: str,
    device: str,
    memory: MemoryOptions,
    adapt: Callable[[Components], object] | None,
) -> Components:
    """A model that was read, frozen and on its device; weights are changed before they are quantised or offloaded."""
    model.reference = reference
    model.memory = memory
    model.freeze()
    if adapt is not None:
        adapt(model)
    return apply_memory_options(model, memory, torch.device(device))


def is_known(name: str) -> bool:
    """Whether a model, or a class of network, has a place here: packages add others, and replace none."""
    return name in PRESETS or name in NETWORKS


def _borrowed(pipe: Any, device: str, memory: MemoryOptions) -> Components:
    """The model of a loaded pipeline. Raises `AnimaticError` where it is to be moved, or changed to save memory."""
    from .pipeline import borrowed  # which is made of what is here

    if device or memory != NO_MEMORY_OPTIONS:
        raise AnimaticError("a loaded pipeline stays as and where it is; want pipe.to(...) and its own memory options")
    return borrowed(pipe)


def _of_single_file(
    file: Path, source: str, device: str, memory: MemoryOptions, adapt: Callable[[Components], object] | None
) -> Components:
    """The model in one file, with the configurations of `source`. See `load`."""
    from .pipeline import assembled

    dtype = memory.dtype or ("float16" if device.startswith("cuda") else "float32")
    pipe = read_single_file(file, source, getattr(torch, dtype))
    model, known = assembled(pipe)
    warn_of_usage(model, replace(known, folder=file))
    model.name = file.stem
    path = str(file.resolve())
    reference = f"{path}@{source}" if source else path
    return _ready(model, reference, device, memory, adapt)


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
                return geometry_of(self.card)

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
                return defaults_of(self.card)
        known = self.known and self.known.defaults
        if known and not self.alike:  # somebody named the model
            return known
        return self.cls.native_defaults(self.folder, known)


def found_at(place: Location) -> Found:
    """Raises `AnimaticError` where the place is no model folder, or one of another kind of model."""
    folder = place.folder
    check_original(folder)
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
    networks = 2 if class_in(index, "transformer_2") else 1
    own = read_json(folder / part / "config.json")
    config = {**own, "_class_name": kind, "_library": library, "_networks": networks}
    names_model = not card.keys().isdisjoint(("model", "family"))
    is_named = place.preset is not None or names_model
    alike = () if is_named else known_by_config(config)
    if alike:
        known = PRESETS[alike[0]]
    else:
        known = place.preset or known_by_card(folder, card)
    return Found(place.name, folder, index, card, config, known, alike)


def concat_conditioning_of(name: str) -> ConcatConditioning | None:
    """The concatenated conditioning of the model called `name` (see `locate`), by its card; no weights are read."""
    preset = PRESETS.get(name)
    if preset and preset.source and not preset.source.startswith(CONVERT_COMMAND):  # its folder has no card
        return preset.concat_conditioning

    # A folder's card goes before what is known of the model; single files and models of other packages have none.
    if single_file(name) or reader_of(name, is_known):
        return None
    found = locate(name)
    by_preset = found.preset and found.preset.concat_conditioning
    return conditioning_of_card(read_card(found.folder)) or by_preset


def _read(found: Found, dtype: torch.dtype, half: bool) -> Components:
    # Text encoder and VAE may be those of another model.
    rest = found.folder
    source = found.card.get("parts")
    if source:
        folder = Path(source)
        rest = folder if folder.is_dir() else fetched(found.name, source, SHARED, half)

    # SDXL has the class of Stable Diffusion's network, and reads more.
    cls = found.cls
    if found.config.get("addition_embed_type") == "text_time":
        pooled = read_json(rest / "text_encoder_2" / "config.json").get("projection_dim", CLIP_PROJECTION)
        cls = class_of_xl(str(found.folder), pooled, found.config)
    network = cls.read(found.folder / cls.network_folder, dtype)
    vae = read_codec(rest / "vae", torch.float32 if cls.full_precision_vae else dtype)
    if "class_vectors" in found.card:
        text = read_labels(found.folder, found.card)
    else:
        text = read_text_encoder(found.name, cls, network, rest, dtype)

    # The model, and what its card or the known model says besides.
    scheduler = read_scheduler(found.folder / "scheduler")
    geometry = found.geometry(network.config, vae.config)
    with reading_card(found.folder):
        coordinates = has_coordinates(found.card)
        words = words_of(found.card)
    model = cls(found.name, network, vae, text, scheduler, geometry, found.defaults(), coordinates, words)
    model.family = found.known.family if found.known else ""
    with reading_card(found.folder):
        model.backgrounds = backgrounds_of(found.card)
        own = conditioning_of_card(found.card)
        model.concat_conditioning = own or (found.known and found.known.concat_conditioning)
    model.read_extras(found.folder, found.index, dtype)
    return model
