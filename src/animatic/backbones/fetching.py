"""Models fetched from the hub: of each part the weights in one format and precision; a warning gives their size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    DryRunError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import tqdm

from ..errors import AnimaticError, counted, warn
from ..media.frame_buffer import format_bytes

HALF = "fp16"  # the variant of a part in half precision, as diffusers and transformers name it
FORMATS = (".safetensors", ".bin")  # of weights, the first that a part has
OTHER_FORMATS = (".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".pb", ".pt", ".pth", ".gguf")
CONFIGS = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model")
FAILURES = (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, HFValidationError, OSError)
UNREACHABLE = (DryRunError, LocalEntryNotFoundError, OfflineModeIsEnabled)


def fetched(name: str, source: str, parts: Sequence[str], half: bool = False, revision: str = "") -> Path:
    """The local folder of a model of the hub, with these parts of it; cached files are not fetched again.

    `name` is the model that needs it, "" where it was requested by its hub id. `half`: weights in float16 where the hub
    has them in addition to float32, but for the VAE, which may compute in float32. `revision`: a branch, tag or commit
    of it, "" for its main branch. Warns of what is fetched.

    Raises `AnimaticError` where the model is not here and cannot be fetched.
    """
    patterns = ["model_index.json", "animatic.json", *(f"{part}/*" for part in parts)]
    try:
        # What the hub has, and what of it is here already.
        try:
            listing: Any = snapshot_download(
                source, revision=revision or None, allow_patterns=patterns, dry_run=True, tqdm_class=_Silent
            )
        except UNREACHABLE:
            return _cached(source, parts, revision)
        sizes = {file.filename: file.file_size or 0 for file in listing}
        here = {file.filename for file in listing if file.is_cached}

        # A hub may hold each part in several formats and precisions.
        requested = needed(sizes, here, half)
        missing = [file for file in requested if file not in here]
        if missing:
            size = format_bytes(sum(sizes[file] for file in missing))
            count = counted(len(missing), "file")
            warn(f"{name or source}: fetching {count} of {source}, {size}")
        return Path(snapshot_download(source, revision=revision or None, allow_patterns=requested))
    except FAILURES as error:
        reason = type(error).__name__
        whose = f"{name}: {source}" if name else f"{source}: no folder, and as a hub id it"
        if revision:
            whose += f" at {revision}"
        raise AnimaticError(f"{whose} is not on this machine and cannot be fetched ({reason})") from None


def fetched_configs(source: str) -> Path:
    """The local folder of a model of the hub with its configurations and tokenizers, a few MB, without weights.

    Raises `AnimaticError` where they are not here and cannot be fetched.
    """
    try:
        return Path(snapshot_download(source, allow_patterns=list(CONFIGS)))
    except FAILURES as error:
        reason = type(error).__name__
        raise AnimaticError(f"{source} is not on this machine and cannot be fetched ({reason})") from None


def needed(files: Iterable[str], here: Collection[str] = (), half: bool = False) -> list[str]:
    """Of the files of a hub folder those that are read: of each part's weights one set, whole or in shards.

    safetensors before torch's pickles; with `half` the fp16 variant, unless the full weights are `here` already.
    """
    weights: dict[str, list[str]] = defaultdict(list)
    requested = []
    for file in files:
        if _is_weights(file):
            weights[file.partition("/")[0]].append(file)
        else:
            requested.append(file)

    # Of each part the first complete set: its format first, its precision second.
    for part, stored in weights.items():
        sets = [_weights_of(stored, ending, "") for ending in FORMATS]
        full = next(filter(None, sets), [])
        is_here = bool(full) and set(full) <= set(here)
        if half and part != "vae" and not is_here:
            sets = []
            for ending in FORMATS:
                sets += [_weights_of(stored, ending, variant) for variant in (HALF, "")]
        requested += next(filter(None, sets), stored)
    return sorted(requested)


def _is_weights(file: str) -> bool:
    return file.endswith((*FORMATS, *OTHER_FORMATS)) or ".index." in file


def _weights_of(stored: Sequence[str], ending: str, variant: str) -> list[str]:
    """A part's weights of one format and variant, with their index; none where it has no such."""
    from diffusers.pipelines.pipeline_loading_utils import variant_compatible_siblings  # of what is fetched alone

    files = [file for file in stored if file.endswith(ending) or f"{ending}.index" in file]
    try:
        usable: Any = variant_compatible_siblings(files, variant=variant or None)[0]
    except ValueError:  # there is no such variant
        return []
    return [str(file) for file in usable]


def _cached(source: str, parts: Sequence[str], revision: str) -> Path:
    """The folder of a model as far as it was fetched before. Raises `LocalEntryNotFoundError` where it was not."""
    # Any file that is read of the model shows where its folder is in the cache.
    for file in ("model_index.json", *(f"{part}/config.json" for part in parts)):
        found = try_to_load_from_cache(source, file, revision=revision or None)
        if isinstance(found, str):
            return Path(found).parents[file.count("/")]
    raise LocalEntryNotFoundError(source)


class _Silent(tqdm):
    """No progress bar, for the listing is short."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "disable": True})
