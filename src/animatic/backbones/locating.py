"""Where a model is: one known by name, a folder, or a repository of the Hugging Face hub by its id (owner/name)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..errors import AnimaticError
from ..plugins import installed
from .fetching import fetched
from .lavie import models_home
from .layouts import check_original_id
from .presets import CONVERT_COMMAND, FORMER_IDS, FORMER_MODELS, PRESETS, Preset

NETWORKS = ("unet", "transformer", "transformer_2", "scheduler", "image_encoder", "image_processor", "guider")
TEXT = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
SHARED = ("vae", *TEXT)  # what a card may borrow
QUOTED = 100  # letters of an unknown name


@dataclass(frozen=True)
class Location:
    """A model that was found: its folder, what it is called, and which known model it was asked for as, if any.

    `reference` finds it again, from any working directory.
    """

    folder: Path
    name: str
    reference: str
    preset: Preset | None = None


def locate(name: str, half: bool = False) -> Location:
    """The model called `name`, in the folder `name`, or with the hub id `name`, fetched if it has to be.

    Of a hub id a branch, tag or commit may be named: owner/name@revision. `half`: in float16 if the hub has it so.
    A folder goes before a hub id. Raises `AnimaticError` where there is none of these, or it cannot be fetched.
    """
    if preset := PRESETS.get(name):
        return Location(_folder(name, preset, half), name, name, preset)
    if os.path.isdir(name):  # of a Path a name that is too long would raise
        folder = Path(name)
        return Location(folder, folder.name, str(folder.resolve()))

    check_not_former(name)

    # On the hub; ids of known models give their settings, too.
    known = ", ".join([*PRESETS, *installed("animatic.backbones")])
    hub_id, at, revision = name.partition("@")
    if not is_hub_id(hub_id) or (at and not revision):
        quoted = name if len(name) <= QUOTED else f"{name[:QUOTED]}…{name[-1]}"  # the names that follow matter more
        raise AnimaticError(
            f"unknown model {quoted!r}; known: {known}, or a folder in diffusers layout, or a hub id such as owner/name"
        )
    check_original_id(hub_id)
    preset_name = preset_of(hub_id)
    folder = fetched("", hub_id, (*NETWORKS, *SHARED), half, revision)
    label = f"{preset_name}@{revision}" if preset_name and revision else preset_name or name
    return Location(folder, label, name, PRESETS.get(preset_name))


def check_not_former(name: str) -> None:
    """Raise `AnimaticError` where `name` is that of a model which is no longer bundled."""
    if name in FORMER_MODELS:
        raise AnimaticError(f"model {name!r} is no longer bundled; want {FORMER_MODELS[name]}")


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a hub id, owner/name."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def preset_of(hub_id: str) -> str:
    """The name of the known model whose weights have this hub id, or had it; "" where there is none."""
    # Ids of the hub are the same in upper and lower case.
    present = {preset.source.lower(): name for name, preset in PRESETS.items() if is_hub_id(preset.source)}
    names = {**FORMER_IDS, **present}
    return names.get(hub_id.lower(), "")


def _folder(name: str, preset: Preset, half: bool) -> Path:
    """The folder of a known model."""
    if not preset.source:
        return Path(str(files("animatic") / "weights" / name))
    if preset.source.startswith(CONVERT_COMMAND):
        if not (folder := models_home() / name).is_dir():
            raise AnimaticError(f"{name} is not on this machine; get its checkpoint, then: {preset.source}")
        return folder
    return fetched(name, preset.source, (*NETWORKS, *SHARED), half)
