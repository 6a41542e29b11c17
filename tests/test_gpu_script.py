"""`runs/gpu.sh` at tiny size on a CPU: its sections measure, and one that fails loses no other's lines."""

import math
import subprocess
from pathlib import Path

import pytest
import tiny
import torch

RUNS = Path(__file__).parents[1] / "runs"
SECTIONS = ("cells", "steps", "pipelines", "caches", "training")
CPU = torch.device("cpu")

# in place of Python: says which section it is, and fails at one of them
STAND_IN = """#!/usr/bin/env bash
echo "ran $*"
[[ $1 != *pipelines.py ]] || exit 3
"""


@pytest.fixture(autouse=True)
def sections(monkeypatch):
    monkeypatch.syspath_prepend(str(RUNS / "gpu"))


@pytest.fixture
def script(tmp_path):
    """Runs the script with the stand-in."""
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(RUNS / "gpu.sh"), *options]
        return subprocess.run(
            command, env={"PYTHON": str(python), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )

    return run


def test_a_section_that_fails_is_named_and_loses_no_other(script):
    done = script("--tiny")
    assert done.returncode == 1
    for name in SECTIONS:
        assert f"ran runs/gpu/{name}.py --tiny" in done.stdout
        result = "failed with code 3" if name == "pipelines" else "complete"
        assert f"| {name} | {result} |" in done.stdout


def test_sections_are_chosen(script):
    done = script("--only", "steps,training")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.startswith("ran")] == [
        "ran runs/gpu/steps.py",
        "ran runs/gpu/training.py",
    ]
    wrong = script("--only", "speed")
    assert wrong.returncode == 2 and "no section speed" in wrong.stderr and not wrong.stdout


def test_a_row_that_fails_is_said_and_the_next_is_made(capsys):
    from bench import Table

    table = Table("model", "seconds", "GiB")
    table.row(["one"], lambda: [1 / 0])
    table.row(["two"], lambda: [0.5, "7 of 8"])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| one | ZeroDivisionError: division by zero |  |",
        "| two | 0.5 | 7 of 8 |",
    ]
    with pytest.raises(SystemExit):
        table.end()


def test_what_takes_too_much_memory_is_said_beside_the_other_figures():
    from bench import ratio, unless_full

    def full() -> float:
        raise torch.OutOfMemoryError

    assert unless_full(lambda: 2.0) == 2.0 and ratio(2.0, 4.0) == 0.5
    assert unless_full(full) == "out of memory" and ratio("out of memory", 4.0) == ""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"unet3d": str(tiny.folder(root / "unet3d", tiny.unet3d())), "wan": str(tiny.wan(root / "wan"))}


def are_figures(found) -> bool:
    """Whether all but the memory, which a CPU does not count, was measured."""
    return all(isinstance(figure, str) or math.isnan(figure) or figure > 0 for figure in found)


@pytest.mark.parametrize("name", ["unet3d", "wan"])
def test_steps_and_runs_are_measured_beside_diffusers(folders, name):
    import pipelines
    import steps
    from bench import Meter

    found = steps.figures(folders[name], torch.bfloat16, CPU, Meter(CPU))
    assert len(found) == 7 and are_figures(found)

    found = pipelines.figures(folders[name], torch.float16, CPU, Meter(CPU))
    assert len(found) == 8 and are_figures(found)


def test_a_pipeline_and_a_run_of_ours_end_at_the_same_latents(folders):
    """What is compared computes the same: from one noise, in float32."""
    import pipelines
    from bench import plain_processors

    bench = pipelines.Bench.of(folders["wan"], CPU, torch.float32)
    noise = bench.model.noise([0], *bench.size)
    with plain_processors(bench.model.unet):
        theirs = bench.theirs(latents=noise.clone())().frames
    ours = bench.ours()
    assert float((theirs - ours).norm() / ours.norm()) < 1e-3


def test_runs_with_reuse_are_measured(folders):
    import caches
    from bench import Meter

    seconds, fast, ratio, reused, apart, *compiled = caches.figures(folders["unet3d"], CPU, Meter(CPU), compiled=False)
    assert min(seconds, fast, ratio) > 0 and reused == "4 of 8" and 0 < apart < 0.1
    assert all(math.isnan(figure) for figure in compiled)


def test_the_matrix_is_counted_in_half_precision():
    import cells

    few = cells.Cells(tiny=True)
    works, same, refused, wrong = map(int, few.figures("ModelScope", "bfloat16"))
    assert (works, same, refused, wrong) == (3, 0, 0, 0), few.faults


@pytest.mark.slow("optimiser steps of a toy trainer")
@pytest.mark.usefixtures("quick_start")
def test_trainers_are_measured(monkeypatch, capsys):
    import training

    monkeypatch.setattr(training, "WARM_UP", 1)
    monkeypatch.setattr(training, "TRAINERS", {"train_mini": training.TRAINERS["train_mini"]})
    training.main(tiny=True)
    stills, clips = capsys.readouterr().out.splitlines()[-2:]
    assert stills.startswith("| train_mini | stills | 2 |") and clips.startswith("| train_mini | clips | 1 |")
