"""A whole Stable Diffusion in one file, as A1111, ComfyUI and Civitai have it, read by diffusers' `from_single_file`.

The file holds weights alone. Configurations and the tokenizer are those of the published model: from the hub's cache,
from the hub, or from a folder that is named after an "@".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import infer_diffusers_model_type, load_single_file_checkpoint

from ..errors import AnimaticError, listed, warn
from .fetching import fetched_configs
from .folder import reading
from .layouts import check_original
from .network_size import limited_network
from .presets import PRESETS

ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")

# diffusers' name of the kind of weights: the pipeline of its file, and the known model with its configurations
KINDS = {"v1": ("StableDiffusionPipeline", "sd15"), "v2": ("StableDiffusionPipeline", "sd21")}

# The parts of a file by the beginning of their names, and what they are.
PARTS = {
    "model.diffusion_model.": "UNet",
    "first_stage_model.": "VAE",
    "cond_stage_model.": "text encoder",
}


def single_file(name: str) -> tuple[Path, str] | None:
    """(file, whose configurations it has) of FILE or FILE@MODEL; None where there is no such file."""
    if os.path.isfile(name):
        return Path(name), ""
    file, at, source = name.rpartition("@")
    return (Path(file), source) if at and os.path.isfile(file) else None


def read_single_file(file: Path, source: str, dtype: torch.dtype) -> Any:
    """The pipeline of a file, with the configurations of `source`: a known model, a hub id or a folder; "": by weights.

    Raises `AnimaticError` where the file holds something else, is damaged or incomplete, or its configurations are not
    on this machine and cannot be fetched.
    """
    check_original(file)
    if file.suffix not in ENDINGS:
        raise AnimaticError(f"{file}: want a folder in diffusers layout, or one file of {', '.join(ENDINGS)}")
    with reading(f"{file}: cannot be read", "; want a checkpoint without code, best in safetensors"):
        state: Any = load_single_file_checkpoint(str(file), local_files_only=True)
    pipeline, model = _kind_of(file, state)
    del state

    # Two models of one layout: the weights do not say what they predict.
    if not source and model == "sd21":
        warn(f"{file}: taken for {model}, which predicts noise; say {file}@OWNER/NAME for one that predicts v")
    source = source or model
    folder = _configs(file, source)

    # Configurations first, then weights. What the file lacks is left without values, or cannot be moved.
    misfit = f"{file}: its weights do not fit the configurations of {source}, or some are missing"
    options: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None}
    cls = getattr(diffusers, pipeline)
    try:
        with limited_network(f"{file}@{source}"), reading(misfit):
            pipe = cls.from_single_file(str(file), config=str(folder), local_files_only=True, dtype=dtype, **options)
    except (KeyError, TypeError) as error:
        raise AnimaticError(f"{misfit} ({error!r})") from None
    for name, part in pipe.components.items():
        missing = [key for key, value in part.named_parameters() if value.is_meta] if _is_module(part) else []
        if missing:
            raise AnimaticError(f"{file}: {len(missing)} weights of its {name} are missing, the first is {missing[0]}")
    pipe.register_to_config(_name_or_path=str(file))
    return pipe


def _is_module(part: Any) -> bool:
    return isinstance(part, torch.nn.Module)


def _kind_of(file: Path, state: dict[str, Any]) -> tuple[str, str]:
    """(pipeline, known model) of a file's weights. Raises `AnimaticError` where they are no whole model known here."""
    if any(".lora_" in name or "lora_unet_" in name for name in state):
        raise AnimaticError(f"{file}: is a LoRA; want a model, and --lora {file} with it")
    kind = infer_diffusers_model_type(state)  # "v1" for whatever it does not know
    missing = [part for prefix, part in PARTS.items() if not any(name.startswith(prefix) for name in state)]
    if kind in KINDS and not missing:
        return KINDS[kind]

    # Which part it has of what.
    if kind in KINDS and len(missing) < len(PARTS):
        raise AnimaticError(f"{file}: has no {listed(missing)}; want a whole model in one file")
    found = f"a {kind!r}" if kind != "v1" else f"weights such as {next(iter(state), 'none')}"
    hint = "load it with diffusers, and the pipeline with animatic.load(pipe)"
    raise AnimaticError(f"{file}: holds {found}; want Stable Diffusion 1.x or 2.x in one file, or {hint}")


def _configs(file: Path, source: str) -> Path:
    """The folder with the configurations and the tokenizer of a model."""
    if os.path.isdir(source):
        return Path(source)
    preset = PRESETS.get(source)
    hub_id = preset.source if preset else source
    try:
        return fetched_configs(hub_id)
    except AnimaticError as error:
        hint = f"want {file}@FOLDER, a folder in diffusers layout of the same kind of model"
        needs = f"needs the configurations and the tokenizer of {source}"
        raise AnimaticError(f"{file}: {needs}: {error}; {hint}") from None
