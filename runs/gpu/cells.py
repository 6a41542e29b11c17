"""The matrix of methods x families of `tests/test_matrix.py` in fp16 and bf16, on the device.

A cell is right where it works, does nothing and says so, or is refused as in float32; the table counts them, and names
below it what was wrong.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from bench import HALF, Table, Tiny, device_of
from matrix_cells import SITUATIONS, Matrix, refused
from matrix_models import FAMILIES

from animatic.core.model_options import MemoryOptions
from animatic.methods import METHODS

FEW = ("ModelScope", "CogVideoX 2B")  # families of --tiny
FEW_METHODS = ("none", "lvd", "layout-attention")


class Cells:
    """The cells of a family in one type, as counts of what came of them."""

    def __init__(self, tiny: bool) -> None:
        self.faults: list[str] = []
        self._methods = FEW_METHODS if tiny else tuple(METHODS)
        self._refused = refused()

    def figures(self, family: str, dtype: str) -> list[str]:
        """How many cells worked, did nothing, were refused, were wrong; of each method one situation."""
        situations = list(SITUATIONS)
        place = list(FAMILIES).index(family)
        counts: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = Matrix(Path(root), MemoryOptions(dtype=dtype))
            for i, method in enumerate(self._methods):
                situation = situations[(i + place) % len(situations)]
                counts[self._result(matrix, method, family, situation, dtype)] += 1
        return [str(counts[name]) for name in ("works", "same", "refused", "wrong")]

    def _result(self, matrix: Matrix, method: str, family: str, situation: str, dtype: str) -> str:
        try:
            cell = matrix.cell(method, family, situation)
            status, reason = cell.status, cell.reason
        except Exception as error:  # a method that crashes here is what is looked for: the others go on
            status, reason = "crash", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        is_refusal = (method, family, situation) in self._refused
        if status in ("works", "same", "refused") and (status == "refused") == is_refusal:
            return status
        self.faults.append(f"{method} on {family} in {situation!r}, {dtype}: {status} {reason}")
        return "wrong"


def main(
    tiny: Tiny = False,
    families: Annotated[str, typer.Option(help="Which, with commas; all if not given.")] = "",
) -> None:
    """Print a table of Markdown."""
    device_of(tiny)
    cells = Cells(tiny)
    table = Table("family", "type", "works", "same", "refused", "wrong")
    for family in families.split(",") if families else FEW if tiny else FAMILIES:
        for dtype in HALF:
            name = str(dtype).removeprefix("torch.")
            table.row((family, name), lambda family=family, name=name: cells.figures(family, name))
    print("".join(f"\n* {fault}" for fault in cells.faults))
    if cells.faults:
        raise SystemExit(1)
    table.end()


if __name__ == "__main__":
    typer.run(main)
