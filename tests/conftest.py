"""What every test shares. The recorded values of the original systems lie beside the checkout; a clone lacks them."""

import json
import os
from pathlib import Path

import pytest

# before torch is imported: some virtual machines announce half-precision instructions that they do not have
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and sums do not depend on the machine
os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: a missing path must fail at once
SHARED = Path(__file__).parents[2] / "shared"


def golden(name: str) -> dict:
    """A file of recorded values; skips the test where it is not there."""
    path = SHARED / "golden" / name
    if not path.exists():
        pytest.skip(f"recorded values of the originals are not here ({name})")
    return json.loads(path.read_text())
