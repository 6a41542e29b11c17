"""One run made by several processes of this machine."""

import os
from dataclasses import replace

import pytest

from animatic.benchmarks import processes
from animatic.benchmarks.generate import JobRenderer, RunPart, prepare, settings_of, work
from animatic.benchmarks.processes import default_workers, work_together
from animatic.benchmarks.registry import BENCHMARKS
from animatic.benchmarks.run_store import Run
from animatic.errors import AnimaticError
from animatic.video import Video

LMD = BENCHMARKS["lmd"]
KNOWN = [i for i, case in enumerate(LMD.cases()) if not set(case.prompt.split()) & {"bottle", "bottles"}][:12]
FEW = replace(LMD, cases=lambda: [LMD.cases()[i] for i in KNOWN])
SETTINGS = settings_of(FEW, "lmd", "mini", "none", "rules", steps=1)


@pytest.fixture(scope="module")
def maker():
    return JobRenderer(SETTINGS)


def test_two_processes_make_what_one_makes(maker, tmp_path):
    alone = prepare(tmp_path / "alone", FEW, SETTINGS)
    work(alone, RunPart(), maker=maker)
    shared = prepare(tmp_path / "shared", FEW, SETTINGS)
    seen = []
    work_together(shared, RunPart(), maker, 2, lambda done, count: seen.append((done, count)))

    assert seen[-1] == (len(KNOWN), len(KNOWN))
    assert shared.states() == alone.states()
    assert os.listdir(shared.folder / "owners") == []
    for one, other in zip(alone.jobs(), shared.jobs(), strict=True):
        assert one.reason == other.reason
        if one.file:
            expected = Video.load(alone.path(one)).frames.astype(int)
            assert abs(Video.load(shared.path(other)).frames - expected).max() <= 1


def _ended(folder, part):
    os._exit(9)


def test_a_worker_that_ends_early_is_an_error(maker, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_work", _ended)
    run = prepare(tmp_path / "run", FEW, SETTINGS)
    with pytest.raises(AnimaticError, match="exit code 9; the same command makes what it left"):
        work_together(run, RunPart(1), maker, 2)


def test_an_interruption_ends_the_others(tmp_path):
    def interrupted(batch):
        raise KeyboardInterrupt

    run = prepare(tmp_path / "run", FEW, SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        work_together(run, RunPart(), interrupted, 3)
    assert set(Run(run.folder).states()) <= {"todo", "left out"}


@pytest.mark.parametrize(
    ("cores", "threads", "limit", "workers"), [(8, 2, None, 2), (8, 8, None, 1), (1, 2, None, 1), (8, 1, 4, 1)]
)
def test_processes_by_cores_and_jobs(cores, threads, limit, workers, tmp_path, monkeypatch):
    """As many as there are cores for, and none that would have too few jobs; a model that is not bundled has one."""
    monkeypatch.setattr(processes, "_cores", lambda: cores)
    monkeypatch.setattr(processes, "WORTH_A_PROCESS", 5)
    run = prepare(tmp_path / "run", FEW, replace(SETTINGS, threads=threads))
    assert default_workers(run, RunPart(limit)) == workers

    run.settings = replace(run.settings, request=replace(run.settings.request, model="zeroscope"))
    assert default_workers(run, RunPart(limit)) == 1


def test_cluster_has_its_own_workers(here):
    code, _, err = here("bench", "generate", "lmd", "--out", "run", "--cluster", "--workers", "2")
    assert code == 2
    assert "want one of both" in err
