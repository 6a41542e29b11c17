"""Benchmarks by name: ours, those of installed packages, and files of your own. Detectors by name."""

from __future__ import annotations

import os
import runpy
from dataclasses import replace
from typing import Any

from ..errors import AnimaticError
from ..plugins import installed, loaded
from . import lmd, lvd, mpv, wild
from .cases import Benchmark, DetectionSettings
from .detect import Detector

GROUP = "animatic.benchmarks"  # of entry points

BENCHMARKS = {
    "lmd": Benchmark(
        "lmd", lmd.cases, "image", 1, DetectionSettings(0.15, 0.15, whole_pixels=False)
    ),  # thresholds: LMD README
    "lvd": Benchmark("lvd", lvd.cases, "video", lvd.FRAMES, DetectionSettings(0.1, 0.1)),  # LVD README
    "wild": Benchmark("wild", wild.cases),
    "mpv": Benchmark("mpv", mpv.cases, "story"),
}

DETECTORS = {  # name -> usual weights
    "toy": "",
    "owlvit": "google/owlvit-base-patch32",  # the one of LMD and LVD
    "owlv2": "google/owlv2-base-patch16-ensemble",
    "grounding-dino": "IDEA-Research/grounding-dino-tiny",
}


def benchmark_named(name: str) -> Benchmark:
    """A benchmark by name: of BENCHMARKS, of an entry point in the group `animatic.benchmarks`, or a Python file.

    A file must set BENCHMARK, and is run: `name` must be what the user typed, never what a data file says.
    `NAME:TASK` are the prompts of one task. Raises `AnimaticError` where there is none.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]

    # Those of other packages are loaded only when asked for by name.
    others = installed(GROUP)
    if name in others:
        return _benchmark(loaded(GROUP, name), name)

    # A task of any of these.
    whole, colon, task = name.rpartition(":")
    if colon and not name.endswith(".py"):
        return _of_task(benchmark_named(whole), task)
    if not name.endswith(".py"):
        known = ", ".join([*BENCHMARKS, *others])
        raise AnimaticError(f"unknown benchmark {name!r}; known: {known}, or a Python file that sets BENCHMARK")

    # A file of Python, which is run: its name is the user's own.
    if not os.path.isfile(name):
        raise AnimaticError(f"{name}: no such file")
    return _benchmark(runpy.run_path(name).get("BENCHMARK"), name)


def _of_task(benchmark: Benchmark, task: str) -> Benchmark:
    """A benchmark with the cases of one task alone, judged as the whole is."""
    cases = benchmark.cases()
    tasks = list(dict.fromkeys(case.task for case in cases))
    if task not in tasks:
        raise AnimaticError(f"benchmark {benchmark.name!r} has no task {task!r}; want one of {', '.join(tasks)}")

    # Numbers and seeds of the cases are those of the smaller benchmark.
    chosen = [case for case in cases if case.task == task]
    return replace(benchmark, cases=lambda: chosen)


def _benchmark(made: Any, name: str) -> Benchmark:
    if not isinstance(made, Benchmark):
        raise AnimaticError(f"{name}: BENCHMARK is {type(made).__name__}; want an animatic.benchmarks.cases.Benchmark")
    return made


def detector_named(name: str) -> Detector:
    """`toy`, `owlvit`, `owlv2` or `grounding-dino`, with other weights after a colon: `owlvit:FOLDER_OR_HUB_ID`."""
    kind, _, weights = name.partition(":")
    if kind not in DETECTORS:
        raise AnimaticError(f"unknown detector {name!r}; known: {', '.join(DETECTORS)}, or one with :WEIGHTS")

    # The toy detector needs no weights, the others load transformers' models.
    if kind == "toy":
        if weights:
            raise AnimaticError(f"detector is {name!r}; the toy detector has no weights: want toy")
        from ..toy.detector import ToyDetector

        return ToyDetector()
    from .open_vocabulary import GroundingDino, Owl

    return (GroundingDino if kind == "grounding-dino" else Owl)(weights or DETECTORS[kind])


def thresholds_for(detector: str, detection: DetectionSettings) -> DetectionSettings:
    """The published thresholds are of OWL-ViT's scores: GroundingDINO's authors take 0.25, the toy one has its own."""
    match detector.partition(":")[0]:
        case "toy":
            return replace(detection, threshold=0.0, nms=1.1)
        case "grounding-dino":
            return replace(detection, threshold=0.25)
        case _:
            return detection
