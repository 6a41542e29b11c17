"""What every test shares: the recorded values of the original systems, how equal floats can be, and a fresh seed."""

import json
import os
import shutil
from pathlib import Path

# before torch is imported: some virtual machines announce half-precision instructions that they do not have
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side
os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: a missing path must fail at once

import numpy as np
import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no browser is installed; want Debian's chromium")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws the same numbers, whatever ran before it."""
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Says how to repeat the order, which `-q` leaves out."""
    seed = getattr(config.option, "randomly_seed", None)
    if seed is not None and not config.getoption("collectonly"):
        terminalreporter.write_line(f"random order; the same again: --randomly-seed={seed}")


def golden(name: str) -> dict:
    """A file of recorded values; `golden/README.md` says where they are from."""
    return json.loads((GOLDEN / name).read_text("utf-8"))


def close(found: Tensor, wanted: Tensor, eps: float = 64) -> bool:
    """Whether two tensors of floats differ by no more than `eps` roundings of the largest value.

    A sum taken in another order ends in other last bits: in other code, in a batch of another size, with weights that
    lie elsewhere in memory, with other instructions of the processor. One rounding is 1.2e-7 of the value in float32.
    64 of them are one pass of a tiny network, or its gradient; a whole run of sampling, whose guidance multiplies what
    differs, takes `RUN`.
    """
    room = eps * torch.finfo(wanted.dtype).eps * wanted.abs().max()
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= room)


RUN = 1000  # roundings that a run of a few steps may add up to: 1.2e-4 of the largest value


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """How far two networks' weights are apart, as a share of their norm.

    Of weights that were trained, not of each one: Adam makes as much of a gradient of 1e-9 as of one of 1, so last bits
    move a weight here and there by a whole step.
    """
    assert found.keys() == wanted.keys() and found
    off = sum(float((found[k] - wanted[k]).double().square().sum()) for k in wanted)
    return (off / sum(float(v.double().square().sum()) for v in wanted.values())) ** 0.5


def close_frames(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two videos are equal to one grey level of 255: last bits may round to the next one."""
    return found.shape == wanted.shape and bool(np.abs(found.astype(int) - wanted).max() <= 1)
