"""The request of a command: that of a file, or a new one, with all that the options say."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from ..core.options import option
from ..core.seeds import check_seed
from ..core.setting_values import Value, given_settings
from ..errors import AnimaticError
from ..media.reading import probe
from ..request import GenerationRequest, SamplingOptions, WindowOptions
from ..request_files import check_paths, request_in
from ..transitions import transitions_of
from ..video import parse_size
from .console import line
from .options import Given, OptionsOf

Sampling = Annotated[Given, OptionsOf(SamplingOptions)]
Windows = Annotated[Given, OptionsOf(WindowOptions)]


@dataclass(frozen=True)
class Choices:
    """The parts of a request that are chosen by name. What is not given is the file's own, or else a default."""

    model: str | None = option(
        None,
        "A name of `animatic models`, a diffusers folder, or a hub id; else mini-2, or mini where nothing plans boxes.",
    )
    lora: list[str] | None = option(
        None, "A LoRA to add to the model's weights; may be repeated.", "FILE[:SCALE[:NETWORK]]"
    )
    embedding: list[str] | None = option(
        None, "A word of textual inversion to add to the model's text; may be repeated.", "FILE[:WORD]"
    )
    method: str | None = option(None, "A name of `animatic methods`.")
    image: str | None = option(None, "A picture that the video begins with, for models that animate one.", "FILE")
    set: list[str] | None = option(
        None, "A setting of the method (`animatic methods NAME` lists them); may be repeated.", "NAME=VALUE"
    )


def requested(
    request: GenerationRequest, choices: Choices, sampling: Given, windows: Given | None = None, silent: bool = False
) -> GenerationRequest:
    """`request` with all that was given. Raises where it cannot be; a seed that is drawn is printed.

    Under another model, what the request says of sampling is that of its own model and is left out.
    """
    from ..backbones.lora import LoraRequest
    from ..backbones.textual_inversion import EmbeddingRequest

    if is_other_model(choices.model, request.model):
        seed = SamplingOptions(seed=request.sampling.seed)
        request = replace(request, sampling=seed, settings={}, loras=(), embeddings=(), windows=WindowOptions())
    changes: dict[str, Any] = {"settings": _settings(request, choices)}
    if choices.model is not None:
        changes["model"] = choices.model
    if choices.method is not None:
        changes["method"] = choices.method
    if choices.lora is not None:
        loras = map(LoraRequest.of, choices.lora)
        changes["loras"] = tuple((str(lora.file), lora.scale, lora.network) for lora in loras)
    if choices.embedding is not None:
        embeddings = map(EmbeddingRequest.of, choices.embedding)
        changes["embeddings"] = tuple((str(embedding.file), embedding.word) for embedding in embeddings)
    if choices.image is not None:
        changes |= {"image": choices.image, "image_digest": ""}
    values = _sampling_values(sampling, silent)
    if "guidance" not in values and any(name.endswith("guidance.scale") for name in given_settings(choices.set or ())):
        values["guidance"] = None  # the setting is the same scale by another name, and what the file says gives way
    changes["sampling"] = replace(request.sampling, **values)
    if windows:
        changes["windows"] = replace(request.windows, **_window_values(windows))
    return replace(request, **changes)


def recorded(source: Path, choices: Choices) -> GenerationRequest:
    """The request in a file that a command starts from. What is assumed beyond what the file says is printed.

    Raises where that is not enough, or where it names folders that the user has not named.
    """
    request = request_in(source)
    if request is None:
        found = probe(source)
        request = GenerationRequest.before_requests(found.info, source, found.frames)
        if " + " in str(found.info.get("model", "")) and not choices.lora:
            made_with = found.info["model"]
            raise AnimaticError(f"{source}: was made with {made_with} and does not say where that is; want --lora FILE")
        open_values = "guidance, size and negative words"
        line(f"{source} does not say with what {open_values} it was made: {request.model}'s own are taken")
    is_scene_alone = request == GenerationRequest(request.story)
    if not is_scene_alone and is_other_model(choices.model, request.model):
        line(f"{source} was made by {request.model}; what it was made with otherwise is {choices.model}'s own")

    # files that the request names may be read if the user names them too; those that are replaced do not matter
    kept = replace(
        request,
        model="" if choices.model else request.model,
        loras=() if choices.lora or choices.model else request.loras,
        embeddings=() if choices.embedding or choices.model else request.embeddings,
        image=request.image if choices.image is None else "",
    )
    check_paths(kept, source)
    return request


def is_other_model(model: str | None, recorded_name: str) -> bool:
    """Whether another model is requested than that of a file, which names folders by their whole path."""
    return model is not None and recorded_name not in (model, str(Path(model).resolve()))


def parse_part(text: str) -> float:
    """A part of a whole, as a decimal or a fraction: "0.5", "9/13"."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise AnimaticError(f"overlap is {text!r}; want a part of a window, such as 0.5 or 9/13") from None


def parse_transitions(text: str) -> int | str:
    """What joins scenes: a number where it is one, else the text. Raises `AnimaticError` where it is neither."""
    entries = text.split(",")
    transitions_of(text, len(entries))
    return int(text) if text.strip().isdecimal() else text


def _settings(request: GenerationRequest, choices: Choices) -> Mapping[str, Value]:
    """The request's settings and those that are given; those of another method are left out."""
    # the path of a setting means something else, or nothing, under another method
    given = given_settings(choices.set or ())
    if choices.method in (None, request.method):
        return {**request.settings, **given}
    return given


def _sampling_values(given: Given, silent: bool) -> dict[str, Any]:
    values = dict(given)
    # -1 draws one; it is printed, or nobody could make the video again
    if values.get("seed") == -1:
        values["seed"] = secrets.randbelow(2**32)
        line(f"seed   {values['seed']}", silent)
    elif "seed" in values:
        check_seed(values["seed"])
    if "size" in values:
        values["size"] = parse_size(values["size"])
    return values


def _window_values(given: Given) -> dict[str, Any]:
    values = dict(given)
    if "overlap" in values:
        values["overlap"] = parse_part(values["overlap"])
    if "transitions" in values:
        values["transitions"] = parse_transitions(values["transitions"])
    return values
