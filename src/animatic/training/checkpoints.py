"""What a run keeps in its folder: its settings, and checkpoints from which it resumes exactly.

accelerate writes weights, optimiser and random states. Its own rotation (`ProjectConfiguration.total_limit`) deletes
old checkpoints before the new one is written, and writes it in place: a full disk or a killed process would leave none
that is complete. Here a checkpoint gets its name once it is complete, and only then are older ones deleted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import AnimaticError, warn
from ..files import digest_of, make_folder, read_json, sync, sync_tree, write_atomically
from .settings import RENAMED, TrainingSettings

FREE = frozenset(
    "out steps clip_steps decay save_every keep_checkpoints sample_every samples guidance threshold log workers".split()
)
"""Settings that may change when a run is resumed; a change of any other makes it a different run."""

AVERAGE = "average.safetensors"  # the averaged weights by their number
DIGESTS = "digests.json"  # the SHA-256 of each of its files
PROGRESS = "progress.json"  # the steps done, and the updates of the average


def save_checkpoint(accelerator: Accelerator, out: Path, step: int, ema: EMAModel, keep: int) -> None:
    """Write `checkpoints/step-N` in the folder `out`, and keep the newest `keep`. Every process calls it."""
    # A name that no reader takes for a checkpoint, until it is whole.
    final = out / "checkpoints" / f"step-{step:07d}"
    partial = final.with_name(f".part-{final.name}")
    is_main_process = accelerator.is_main_process
    try:
        if is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            make_folder(partial.parent)  # whose own name a power cut leaves, too
            partial.mkdir()
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial), safe_serialization=True)
        accelerator.wait_for_everyone()

        # What accelerate does not know of, and what tells a damaged checkpoint from a whole one.
        if is_main_process:
            averaged = {str(i): p.detach().contiguous() for i, p in enumerate(ema.shadow_params)}
            save_file(averaged, partial / AVERAGE)
            progress = {"step": step, "averaged": ema.optimization_step}
            (partial / PROGRESS).write_text(json.dumps(progress))
            (partial / DIGESTS).write_text(json.dumps(_digests(partial)))

            # On the disk before the name is: a power cut leaves no half checkpoint.
            sync_tree(partial)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = str(error).splitlines()[0]
        raise AnimaticError(
            f"{final}: cannot be written ({reason}); earlier checkpoints are whole, run again"
        ) from None

    accelerator.wait_for_everyone()
    if is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync(final.parent)
        checkpoints = sorted(final.parent.glob("step-*"))
        for outdated in checkpoints[:-keep]:
            shutil.rmtree(outdated)


def load_checkpoint(accelerator: Accelerator, out: Path, ema: EMAModel) -> int:
    """Load the latest whole checkpoint in the folder `out`; returns its step, 0 where there is none.

    A damaged one is passed over with a warning. Raises `AnimaticError` where all of them are.
    """
    reasons = []
    for folder in sorted((out / "checkpoints").glob("step-*"), reverse=True):
        try:
            progress = _load(accelerator, folder, ema)
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError, SafetensorError) as error:
            first_lines = str(error).splitlines()[:2]  # the first names no layer
            reason = "; ".join(line.strip() for line in first_lines)
            reasons.append(f"{folder}: cannot be resumed ({reason or type(error).__name__})")
            continue
        for reason in reasons:
            warn(f"{reason}; resumed from {folder.name}")
        return progress["step"]

    if reasons:
        raise AnimaticError(f"{reasons[0]}; want a checkpoint of this run")
    return 0


def _load(accelerator: Accelerator, folder: Path, ema: EMAModel) -> dict[str, int]:
    """Load one checkpoint and return its progress. Raises where it is damaged, or of another network."""
    # Checkpoints of version 0.1 have no digests.
    if (folder / DIGESTS).exists():
        digests = json.loads((folder / DIGESTS).read_text())
        found = _digests(folder)
        for name, digest in digests.items():
            if found.get(name) != digest:
                raise ValueError(f"{name} is damaged, or missing")

    accelerator.load_state(str(folder))
    progress = json.loads((folder / PROGRESS).read_text())
    averaged = load_file(folder / AVERAGE)

    # The average is copied in place: the optimiser step reads the same tensors.
    for i, shadow in enumerate(ema.shadow_params):
        shadow.data.copy_(averaged[str(i)])
    ema.optimization_step = progress["averaged"]
    return progress


def _digests(folder: Path) -> dict[str, str]:
    """The digest of each file of a checkpoint, but for that of the digests themselves."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != DIGESTS]
    return {str(path.relative_to(folder)): digest_of(path) for path in files}


def renamed_keys(stored: Mapping[str, Any], fields: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """A file of an earlier version with the present names of its keys: old names by the table `renamed`."""
    present = {}
    for name, value in stored.items():
        key = name if name in fields else renamed.get(name, name)
        present[key] = value
    return present


def claim(file: Path, now: Mapping[str, Any], renamed: Mapping[str, str] = RENAMED) -> None:
    """Write the settings `now` of a run into its folder, as JSON.

    `renamed` maps the keys of earlier versions to present ones. Raises `AnimaticError` where the file holds another
    value of a setting that may not change, see `FREE`.
    """
    before = read_json(file) if file.exists() else now
    if not isinstance(before, dict):
        raise AnimaticError(f"{file}: is not what a run writes; want another --out")
    before = renamed_keys(before, now, renamed)

    for name, value in now.items():
        # A run that began before a setting existed did what is now its default.
        default = getattr(TrainingSettings, name, None)
        previous = before.get(name, default)
        if name not in FREE and previous != value:
            change = f"{name} was {previous!r}, now {value!r}"
            raise AnimaticError(f"{file.parent} holds another run: {change}; want the same, or another --out")

    text = json.dumps(now, indent=1) + "\n"
    write_atomically(file, text.encode())
