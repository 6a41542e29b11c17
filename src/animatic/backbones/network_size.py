"""Limits of a network that a stranger's configuration asks for: refused while it is built, before memory is taken.

PyTorch calls a hook for every parameter that a module gets, before its values are written: memory that was requested
and never written is not taken from the machine, and on the meta device there is none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..errors import AnimaticError

VARIABLE = "ANIMATIC_MOST_PARAMETERS"  # in the environment: another limit, such as 80e9
MOST_PARAMETERS = 40e9  # of a network; the largest of those known here has 14e9
MOST_TENSORS = 20_000  # of a network; the largest of those known here have less than 2,000
MOST_INTEGER = 2**24  # in a configuration; the largest are sizes of vocabularies, and base frequencies of positions
PER_BYTE = 4  # parameters for each byte of the weights: a byte holds one, two of 4 bits, and tied ones are seen twice
SPARE = 2**20  # parameters more, for those that a library makes itself
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


class _TooLargeError(Exception):
    """A network passed a limit; no error that readers of damaged files take for one of theirs."""


def most_parameters() -> float:
    """The limit of parameters. Raises `AnimaticError` where the environment has one that is no number above 0."""
    given = os.environ.get(VARIABLE, "")
    if not given:
        return MOST_PARAMETERS
    try:
        most = float(given)
    except ValueError:
        most = 0.0
    if not most > 0:
        raise AnimaticError(f"{VARIABLE} is {given[:40]!r}; want a number of parameters, such as 80e9")
    return most


def check_integers(config: Mapping[str, Any], where: Path) -> None:
    """Raise `AnimaticError` where a configuration has a number that no size of a network has."""
    for name, value in config.items():
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, int) and abs(part) > MOST_INTEGER:
                raise AnimaticError(f"{where}: {name[:80]} is {str(part)[:30]}; want {MOST_INTEGER:,} at most")


@contextmanager
def limited_network(what: object, folder: Path | None = None) -> Iterator[None]:
    """Raise `AnimaticError` in this context once a network of this thread has more parameters than it may have.

    `what` names it in the message. With a `folder` of weights it may also have no more than those can hold.
    """
    most = most_parameters()
    stored = _stored_bytes(folder) if folder else 0
    held = PER_BYTE * stored + SPARE if stored else float("inf")
    thread = threading.get_ident()
    parameters = tensors = 0

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        nonlocal parameters, tensors
        if parameter is None or threading.get_ident() != thread:
            return
        parameters += parameter.numel()
        tensors += 1
        if parameters > min(most, held) or tensors > MOST_TENSORS:
            raise _TooLargeError

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    except _TooLargeError:
        raise AnimaticError(f"{what}: {_reason(parameters, tensors, most, stored)}") from None
    finally:
        hook.remove()


def _reason(parameters: int, tensors: int, most: float, stored: int) -> str:
    """Which limit was passed, and what would be right."""
    if parameters > most:
        limit = f"want {most / 1e9:g} billion at most, or {VARIABLE} with another limit"
        return f"its configuration asks for a network of {parameters / 1e9:.3g} billion parameters or more; {limit}"
    if tensors > MOST_TENSORS:
        return f"its configuration asks for a network of more than {MOST_TENSORS:,} tensors; want {MOST_TENSORS:,}"
    have = f"its weight files of {stored:,} bytes do not hold"
    return f"its configuration asks for {parameters:,} parameters or more, which {have}; want the configuration of both"


def _stored_bytes(folder: Path) -> int:
    """Bytes of all files of weights in a folder; 0 where there are none."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in WEIGHTS and file.is_file())
