"""Write docs/matrix.md: every method on every family of models in six situations, and what the methods change there.

Runs the whole product (a quarter of an hour on one core), then writes the page and tests/matrix_refused.json, the cells
that tests/test_matrix.py expects to be refused. Ends with code 1 where a cell crashed or had no effect in silence.

    python runs/matrix.py                     # everything
    python runs/matrix.py --cells done.jsonl  # the same; what is in the file is not run again, what is run is added
    python runs/matrix.py --page              # only the page's table of faults and tests, nothing is run
    python runs/matrix.py lmd wan             # prints the cells whose method or family begins so, and writes nothing
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from matrix_cells import SEED, SITUATIONS, Cell, Matrix, write_refused  # noqa: E402
from matrix_faults import FAULTS  # noqa: E402
from matrix_models import FAMILIES, folder_name  # noqa: E402

from animatic.methods import METHODS  # noqa: E402

PAGE = Path(__file__).parents[1] / "docs" / "matrix.md"
SIGNS = {"works": "o", "same": "=", "refused": "r", "silent": "S", "not finite": "N", "crash": "X"}
FAULTY = ("silent", "not finite", "crash")
MEASURED = "two tracks"  # the situation of the measured effect
Cells = Mapping[tuple[str, str, str], Cell]


def run(methods: list[str], families: list[str], kept: Path | None = None) -> dict[tuple[str, str, str], Cell]:
    """Every cell of these, each printed as it is done; those in the file `kept` are taken from there."""
    cells = {}
    done = _read(kept)
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix(Path(folder))
        for family, method, situation in itertools.product(families, methods, SITUATIONS):
            key = (method, family, situation)
            if key in done:
                cells[key] = done[key]
                continue
            begun = time.perf_counter()
            cell = _cell(matrix, *key)
            cells[key] = cell
            took = time.perf_counter() - begun
            print(f"{family} | {method} | {situation} | {cell.status} | {took:.2f} s | {cell.reason}", flush=True)
            if kept:
                with kept.open("a", encoding="utf-8") as file:
                    print(json.dumps([key, asdict(cell)]), file=file)
    return cells


def _read(kept: Path | None) -> dict[tuple[str, str, str], Cell]:
    """The cells in a file of an earlier run."""
    if kept is None or not kept.exists():
        return {}
    lines = kept.read_text("utf-8").splitlines()
    return {tuple(key): Cell(**fields) for key, fields in map(json.loads, lines)}


def _cell(matrix: Matrix, method: str, family: str, situation: str) -> Cell:
    try:
        return matrix.cell(method, family, situation)
    except Exception as error:  # whatever it is, it is a crash of this cell: the others are run all the same
        return Cell("crash", f"{type(error).__name__}: {error}")


def page(cells: Cells) -> str:
    """The page."""
    return "\n".join(_page(cells)) + "\n"


def _page(cells: Cells) -> Iterator[str]:
    yield "# Methods, models, situations"
    yield "\nWritten by `runs/matrix.py`; `tests/test_matrix.py` holds it.\n"
    yield f"""\
Every method on every family of models in six situations. Models are the real classes at tiny size with random weights,
so that nothing here is about the quality of pictures; `mini` is the bundled model. Runs of one step (Wan 2.2 A14B two,
GLIGEN as published three, `ditctrl:published` four), seed {SEED}, n = 1 a cell, at each model's own scheduler and
guidance; in windows keys and values are shared at every step. torch {torch.__version__}, CPU.

A cell has a sign for each situation:
"""
    for i, situation in enumerate(SITUATIONS):
        yield f"{i + 1}. {situation}"
    yield """
`o` it works: it ends in finite latents that differ from the model's alone with the same words, guidance and windows.
`=` it is as the model alone, and a note says so. `r` it is refused before any evaluation of the network, in one line.
`S` it has no effect and does not say so, `N` it is not finite, `X` it crashes.
"""
    yield _row("method", *FAMILIES)
    yield _row("---", *("---" for _ in FAMILIES))
    for method in METHODS:
        signs = ["".join(SIGNS[cells[method, family, s].status] for s in SITUATIONS) for family in FAMILIES]
        yield _row(f"`{method}`", *(f"`{each}`" for each in signs))
    yield from _refusals(cells)
    yield from _effects(cells)
    yield from _faults()


def _refusals(cells: Cells) -> Iterator[str]:
    """Reasons, and where they hold."""
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    for (method, family, situation), cell in cells.items():
        if cell.status in ("refused", *FAULTY):
            named = cell.reason.replace(repr(method), "METHOD").replace(folder_name(family), "MODEL")
            reason = named or cell.status
            found.setdefault(reason, {}).setdefault(family, {}).setdefault(situation, []).append(method)
    yield "\n## What is refused, and why\n"
    yield _row("reason", "models", "methods", "situations")
    yield _row("---", "---", "---", "---")
    for reason, families in found.items():
        methods = dict.fromkeys(m for by in families.values() for names in by.values() for m in names)
        situations = dict.fromkeys(s for by in families.values() for s in by)
        which = "all" if len(situations) == len(SITUATIONS) else ", ".join(situations)
        yield _row(reason, ", ".join(families), ", ".join(f"`{name}`" for name in methods), which)


def _effects(cells: Cells) -> Iterator[str]:
    """The measured effect of each method on each family."""
    yield "\n## What the methods change\n"
    yield f"""\
Of the first situation ({MEASURED}). The energy before the gradient steps of the first noise level, and after them; each
method has its own energy, so that rows do not compare. Steps have the length that suits trained networks: a random one
may be carried past the lowest point. `tests/test_matrix.py` checks that short ones lead down everywhere.
"""
    yield from _table(cells, _energy)
    yield """
How much of the attention of the objects' words is inside their boxes at the first noise level (%): of the model alone,
and under the method. Random networks attend evenly and hardly move; regions have words of their own.
"""
    yield from _table(cells, _inside)
    yield """
How far the latents are from the model's alone, relative to their norm; of DiTCtrl in the story of 2.
"""
    yield from _table(cells, _change, between_windows=True)


def _table(cells: Cells, show, between_windows: bool = False) -> Iterator[str]:
    yield _row("method", *FAMILIES)
    yield _row("---", *("---" for _ in FAMILIES))
    for method in METHODS:
        situation = "story of 2" if between_windows and method.startswith("ditctrl") else MEASURED
        values = [show(cells[method, family, situation]) for family in FAMILIES]
        if any(values):
            yield _row(f"`{method}`", *values)


def _energy(cell: Cell) -> str:
    return "; ".join(f"{before:.3g} → {after:.3g}" for before, after in cell.energies)


def _inside(cell: Cell) -> str:
    if cell.inside is None or cell.inside_alone is None or not cell.change:
        return ""
    return f"{100 * cell.inside_alone:.1f} → {100 * cell.inside:.1f}"


def _change(cell: Cell) -> str:
    return f"{cell.change:.2g}" if cell.change else ""


def _faults() -> Iterator[str]:
    """What could go wrong, and the test that holds it."""
    yield "\n## What could go wrong, and what holds it\n"
    yield _row("what could go wrong", "test")
    yield _row("---", "---")
    for what, tests in FAULTS:
        yield _row(what, "; ".join(f"`{test}`" for test in tests))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def with_faults(text: str) -> str:
    """The page with its last section, the table of faults and tests, written again."""
    rest, _, _ = text.partition("\n\n## What could go wrong")
    return "\n".join([rest, *_faults()]) + "\n"


def main() -> int:
    """Run what is chosen, or everything; then the page and the list of refusals are written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chosen", nargs="*", help="beginnings of names of methods and families")
    parser.add_argument("--cells", type=Path, help="file of the cells that are done")
    parser.add_argument("--page", action="store_true", help="write the table of faults and tests alone")
    options = parser.parse_args()
    if options.page:
        PAGE.write_text(with_faults(PAGE.read_text("utf-8")), "utf-8")
        return 0

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    methods = [name for name in METHODS if any(name.startswith(word) for word in options.chosen)]
    families = [name for name in FAMILIES if any(name.lower().startswith(word.lower()) for word in options.chosen)]
    cells = run(methods or list(METHODS), families or list(FAMILIES), options.cells)
    if not options.chosen:
        PAGE.write_text(page(cells), "utf-8")
        write_refused([key for key, cell in cells.items() if cell.status == "refused" and not cell.evaluations])
    return int(any(cell.status in FAULTY for cell in cells.values()))


if __name__ == "__main__":
    sys.exit(main())
