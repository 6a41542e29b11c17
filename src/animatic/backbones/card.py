"""The card `animatic.json` of a model folder: what belongs into it, and how it is written. See docs/models.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..core.backbone import Geometry
from ..errors import AnimaticError, listed
from ..files import write_atomically
from ..quiet import quiet
from .folder import read_json
from .load import Found, found_at
from .locating import Location
from .network_size import limited_network
from .parts import vae_class_in
from .presets import PRESETS


@quiet()
def card_of(folder: Path, model: str = "") -> tuple[dict[str, Any], str]:
    """The card of the model in `folder`, and in one line what it is based on; no weights are read.

    `model` is the known model that the folder holds; "": recognised by its configuration. Fields of a card that exists
    already are kept; missing ones are filled in. Raises `AnimaticError` where `folder` holds no model, or `model` is
    not known.
    """
    if model and model not in PRESETS:
        raise AnimaticError(f"unknown model {model!r}; known: {', '.join(PRESETS)}")

    # The folder alone says where it is: its name decides nothing.
    place = Location(folder, folder.name, str(folder), PRESETS.get(model))
    found = found_at(place)

    # Which model it is, and on what evidence.
    kept = dict(found.card)
    if model:  # the name that is given replaces these
        kept.pop("model", None)
        kept.pop("family", None)
    named: dict[str, Any] = {}
    why = "like no known model: check geometry and defaults, which are its configs' and the defaults"
    if model:
        named, why = {"model": model}, f"named as {model}"
    elif found.alike:
        name, *others = found.alike
        doubt = ""
        if others:
            doubt = f"; {listed(others)} has the same one: say --model {others[0]} if it is that"
        named = {"model": name}
        why = f"taken for {name} by its configuration{doubt}"
    elif found.known:
        why = "what it lacked of the model that its card names"

    # Every number is written out, so that it can be edited.
    card = named if named or found.known else {"family": "", "coordinates": False, "words": []}
    if "geometry" not in kept:
        card = {**card, "geometry": asdict(_geometry(found))}
    if "defaults" not in kept:
        card = {**card, "defaults": asdict(found.defaults())}
    return {**card, **kept}, why


def _geometry(found: Found) -> Geometry:
    """The geometry, from configurations alone: networks are built on the meta device, without memory."""
    network_folder = found.folder / found.cls.network_folder
    vae_folder = found.folder / "vae"
    if not vae_folder.is_dir():  # the VAE is another model's, see `parts`
        raise AnimaticError(f"{vae_folder}: no such folder; want it, or geometry in animatic.json")
    vae_class, vae_config = vae_class_in(vae_folder)

    # Errors name the folder, as they do of a network that is read.
    network_config = read_json(network_folder / "config.json")
    network_config["_name_or_path"] = str(network_folder)
    with torch.device("meta"), limited_network(found.folder):
        network = found.cls.network.from_config(network_config)
        vae = vae_class.from_config(vae_config)
    return found.geometry(network.config, vae.config)


def write_card(folder: Path, model: str = "", force: bool = False) -> tuple[Path, str]:
    """Write the card of `card_of` into the folder; returns its file and what it is based on.

    Raises `AnimaticError` where there is a card already, unless `force`.
    """
    file = folder / "animatic.json"
    if file.exists() and not force:
        raise AnimaticError(f"{file} is there already; want --force to fill in what it lacks, or --print")
    card, why = card_of(folder, model)
    write_atomically(file, card_text(card).encode())
    return file, why


def card_text(card: dict[str, Any]) -> str:
    """The card as JSON text."""
    return json.dumps(card, indent=1, ensure_ascii=False) + "\n"
