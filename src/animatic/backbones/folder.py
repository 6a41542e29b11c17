"""A model folder in diffusers layout: its parts read with errors that say what is wrong, its cards written."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers.models.model_loading_utils import load_state_dict
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer

from .. import files
from ..errors import AnimaticError, warn
from .network_size import check_integers, limited_network

SHARD = re.compile(r"-\d+-of-\d+\.")  # in the name of a file that holds a part of the weights
RENAMED_KEYS = {  # of a card: those of version 0.1, and what they are called since
    "habits": "defaults",
    "beside": "concat_conditioning",
    "stride": "vae_spatial_ratio",
    "pace": "vae_temporal_ratio",
    "ending": "prompt_suffix",
    "lack": "residual_std",
}
HALF = re.compile(r"\.fp16[.-]")  # in the name of a file of weights in float16, the variant of diffusers
UNREADABLE = (
    *(OSError, EOFError, ImportError, RuntimeError, MemoryError, SafetensorError, pickle.UnpicklingError),
    # libraries raise all of these where a configuration has values of other kinds than they expect
    *(TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError, StrictDataclassError),
)


REASON = 300  # letters of a library's error that are quoted


@contextmanager
def reading(what: str, want: str = "") -> Iterator[None]:
    """Turn the errors of libraries that read a file into an `AnimaticError` of one line that begins with `what`."""
    try:
        yield
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:REASON] or type(error).__name__
        raise AnimaticError(f"{what} ({reason}){want}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A card of a model folder."""
    if not path.is_file():
        raise AnimaticError(f"{path}: cannot be read (no such file); want a model folder in diffusers layout")
    data = files.read_json(path)
    if not isinstance(data, dict):
        raise AnimaticError(f"{path}: found {type(data).__name__}; want a JSON object")
    return data


def class_in(index: Mapping[str, Any], part: str) -> str | None:
    """The class that `model_index.json` names for a part, or None where the model has no such part."""
    entry: Any = index.get(part)  # [library, class]
    is_pair = isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str) for name in entry)
    return entry[1] if is_pair else None


def read_card(folder: Path) -> dict[str, Any]:
    """A model folder's `animatic.json`, empty where there is none. Names of version 0.1 are read as today's."""
    file = folder / "animatic.json"
    return _renamed_keys(read_json(file)) if file.exists() else {}


def _renamed_keys(card: dict[str, Any]) -> dict[str, Any]:
    renamed = {}
    for key, value in card.items():
        present = RENAMED_KEYS.get(key, key)
        renamed[present] = _renamed_keys(value) if isinstance(value, dict) else value
    return renamed


@contextmanager
def reading_card(folder: Path) -> Iterator[None]:
    """Turn errors in the fields of `animatic.json` into an `AnimaticError` of one line."""
    try:
        yield
    except (TypeError, LookupError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error)
        if not isinstance(error, AnimaticError):
            reason = f"{type(error).__name__}: {reason}"
        raise AnimaticError(f"{folder}/animatic.json: cannot be used ({reason}); see docs/models.md") from None


def read_network(cls: Any, folder: Path, dtype: torch.dtype, **config: Any) -> Any:
    """A network of class `cls` with every weight from its files.

    Weights of grounding are left to `load_grounding`. Raises `AnimaticError` where weights are missing or damaged, or
    the configuration asks for a network that is too large (`network_size`);
    warns where the file has weights that the network has no place for.
    """
    # All shards that an index names.
    for listed in folder.glob("*.index.json"):
        weight_map = read_json(listed).get("weight_map", {})
        if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
            raise AnimaticError(f"{listed}: its weight_map is damaged; want names of weights with those of their files")
        shards = sorted(set(weight_map.values()))
        missing = [shard for shard in shards if not (folder / shard).exists()]
        if missing:
            count = f"{len(missing)} of {len(shards)}"
            raise AnimaticError(f"{folder}: {count} weight files are missing, the first is {missing[0]}")

    # `output_loading_info` gives the names of missing and unexpected weights.
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True, "local_files_only": True, **config}
    options |= _half_alone(folder, dtype)
    if (folder / "config.json").is_file():
        check_integers(read_json(folder / "config.json"), folder / "config.json")
    with limited_network(folder, folder), reading(f"{folder}: weights are missing or damaged"):
        network, report = cls.from_pretrained(folder, **options)

    # diffusers initialises missing weights at random, and leaves out unexpected ones.
    missing = sorted(report["missing_keys"])
    if missing:
        raise AnimaticError(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
    unexpected = sorted(name for name in report["unexpected_keys"] if not is_grounding(name))
    if unexpected:
        warn(f"{folder}: {len(unexpected)} weights have no place in {cls.__name__}, the first is {unexpected[0]}")
    return network


def _half_alone(folder: Path, dtype: torch.dtype) -> dict[str, str]:
    """The libraries' option for a folder with float16 weights only; warns where `dtype` is float32."""
    names = []
    for ending in ("safetensors", "bin"):
        names += [file.name for file in folder.glob(f"*model*.{ending}")]

    # A folder that has float32, too, is read as usual.
    if not names or not all(HALF.search(name) for name in names):
        return {}
    if dtype == torch.float32:
        warn(f"{folder}: computed in float32, but the weights are in float16 alone")
    return {"variant": "fp16"}


def is_grounding(name: str) -> bool:
    """Whether a parameter is one that grounding (GLIGEN) added to a UNet."""
    return ".fuser." in name or name.startswith("position_net.")


def read_state(folder: Path) -> dict[str, Tensor]:
    """All weights in a folder, safetensors or torch's, of the latter no code; one file, or the shards of one."""
    stored = sorted(folder.glob("diffusion_pytorch_model*.safetensors"))
    stored = stored or sorted(folder.glob("*.bin"))
    plain = [file for file in stored if len(file.suffixes) == 1]  # others are variants such as fp16 or non_ema
    found = plain or stored
    if not found:
        raise AnimaticError(f"{folder}: no weights; want diffusion_pytorch_model.safetensors")
    are_shards = all(SHARD.search(file.name) for file in found)
    if len(found) > 1 and not are_shards:
        raise AnimaticError(f"{folder}: {found[0].name} and {found[1].name} are both whole weights; want one of them")

    # safetensors, or a pickle read without running code.
    state: dict[str, Tensor] = {}
    with reading(f"{folder}: weights are damaged"):
        for file in found:
            state.update(load_state_dict(file))
    return state


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """A state dict from a `.pt` file, weights only: a pickle that carries code is refused, not run."""
    with reading(f"{checkpoint}: cannot be read", "; want a .pt file"):
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise AnimaticError(f"{checkpoint}: holds a {type(state).__name__}; want a state dict")
    return state


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], description: str) -> None:
    """Raise `AnimaticError` that names the first tensor that is missing, unknown or of another shape than expected."""
    for name in sorted(expected.keys() ^ state.keys()):
        what = "is missing" if name in expected else "is unknown"
        raise AnimaticError(f"{name} {what}; want {description}")

    # The names agree; the shapes must, too.
    for name, tensor in state.items():
        shape = list(tensor.shape)
        wanted = list(expected[name].shape)
        if shape != wanted:
            raise AnimaticError(f"{name} has shape {shape}; want {wanted}")


def read_tokenizer(folder: Path, vocabulary: int) -> Any:
    """The tokenizer of an encoder that knows `vocabulary` tokens."""
    found = [file for file in ("tokenizer.json", "vocab.json", "spiece.model") if (folder / file).exists()]
    if not found:  # else an empty one is made up
        raise AnimaticError(f"{folder}: no tokenizer; want tokenizer.json, vocab.json or spiece.model")

    # transformers would name a missing package in many lines.
    if found == ["spiece.model"] and not find_spec("sentencepiece"):
        raise AnimaticError(f"{folder}: spiece.model needs sentencepiece and protobuf; pip install 'animatic[t5]'")
    with reading(f"{folder}: the tokenizer cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    # Tokens beyond the embedding's table would fail in the first call, or read past it on a GPU.
    if len(tokenizer) > vocabulary:
        counts = f"{len(tokenizer)} tokens, but the text encoder knows {vocabulary}"
        raise AnimaticError(f"{folder}: {counts}; they do not belong together")
    return tokenizer


def write_cards(folder: Path, parts: Mapping[str, tuple[str, str]], card: Mapping[str, Any]) -> None:
    """`model_index.json`, (library, class) of each part, and `animatic.json`, what diffusers cannot express."""
    index = {"_class_name": "Video", **parts}
    contents = {"model_index.json": index, "animatic.json": card}
    for name, data in contents.items():
        text = json.dumps(data, indent=1) + "\n"
        files.write_atomically(folder / name, text.encode())
