"""Benchmarks by name: ours, those of installed packages, and files of your own."""

from __future__ import annotations

import runpy
from importlib.metadata import entry_points
from pathlib import Path

from ..errors import AnimaticError
from . import lmd, lvd, mpv, wild
from .cases import Benchmark, Looking

BENCHMARKS = {
    "lmd": Benchmark("lmd", lmd.cases, "image", 1, Looking(0.15, 0.15, whole=False)),  # thresholds: LMD README
    "lvd": Benchmark("lvd", lvd.cases, "video", lvd.FRAMES, Looking(0.1, 0.1)),  # LVD README
    "wild": Benchmark("wild", wild.cases),
    "mpv": Benchmark("mpv", mpv.cases, "story"),
}


def benchmark_named(name: str) -> Benchmark:
    """A benchmark by name: of BENCHMARKS, of an entry point in the group `animatic.benchmarks`, or a Python file.

    A file must set BENCHMARK. Raises `AnimaticError` where there is none.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    others = entry_points(group="animatic.benchmarks")
    if name in others.names:
        return others[name].load()
    if not name.endswith(".py"):
        known = ", ".join([*BENCHMARKS, *sorted(others.names)])
        raise AnimaticError(f"unknown benchmark {name!r}; known: {known}, or a Python file that sets BENCHMARK")
    if not Path(name).is_file():
        raise AnimaticError(f"{name}: no such file")
    made = runpy.run_path(name).get("BENCHMARK")
    if not isinstance(made, Benchmark):
        raise AnimaticError(f"{name}: BENCHMARK is {made!r}; want an animatic.benchmarks.cases.Benchmark")
    return made
