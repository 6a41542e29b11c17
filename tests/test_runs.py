"""Runs: prepared once, resumed after anything, split in any way, and always the same result."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from animatic.benchmarks.generate import JobRenderer, RunPart, prepare, settings_of, work
from animatic.benchmarks.jobs import DONE, FAILED, LEFT_OUT, TODO, fair_order
from animatic.benchmarks.registry import BENCHMARKS
from animatic.benchmarks.run_store import Run
from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.toy.evals.ceiling import ToyRenderer

LVD = BENCHMARKS["lvd"]
SHORT = replace(LVD, cases=lambda: LVD.cases()[::12][:40])
FILMED = settings_of(SHORT, "lvd", "mini", "none", "rules")

# a process at work on the run in argv[1], slow enough to be killed
WORKER = """
import sys, time
from animatic.toy.evals.ceiling import ToyRenderer
from animatic.benchmarks.generate import RunPart, work
from animatic.benchmarks.run_store import Run
film = ToyRenderer()
def slow(batch):
    time.sleep(0.03)
    return film(batch)
work(Run(sys.argv[1]), RunPart(), maker=slow)
"""


def began(folder):
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder)])


def content(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "made").glob("*"))}


def states(folder):
    return Run(folder).states()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """40 jobs made without a break."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    work(prepare(folder, SHORT, FILMED), RunPart(), maker=ToyRenderer())
    return folder


def test_every_beginning_is_a_fair_sample():
    tasks = [case.task for case in LVD.cases()]
    places = fair_order(tasks)
    assert sorted(places) == list(range(500))
    for count in (5, 50, 100, 125):
        taken = Counter(task for task, place in zip(tasks, places, strict=True) if place < count)
        assert set(taken.values()) == {count // 5}
    numeracy = [p for t, p in zip(tasks, places, strict=True) if t == "numeracy"]
    taken = [i for i in range(100) if numeracy[i] < 100]  # twenty of them, spread over the four numbers
    assert set(Counter(i // 25 for i in taken).values()) <= {4, 5, 6}


def test_a_prompt_keeps_its_seed(tmp_path):
    """T24: whole or in parts; the repeat r adds 6789 r."""
    run = prepare(tmp_path / "a", SHORT, replace(FILMED, request=FILMED.request.with_sampling(seed=7), repeats=2))
    assert [job.seed for job in run.jobs()] == [*range(7, 47), *range(6796, 6836)]
    with run.working():
        seen = [job for i in range(3) for job in iter(lambda i=i: (run.claim(6, (i, 3)) or [None])[0], None)]
    assert sorted(job.place for job in seen) == list(range(6)) and all(job.seed == 7 + job.number for job in seen)


def test_killed_three_times_it_is_the_same(whole, tmp_path):
    folder = tmp_path / "run"
    prepare(folder, SHORT, FILMED)
    for count in (5, 15, 25):
        process = began(folder)
        deadline = time.monotonic() + 60
        while states(folder).get(DONE, 0) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert count <= states(folder)[DONE] < 40
    kept = {path: path.stat().st_mtime_ns for path in (folder / "made").glob("*.mp4") if is_done(folder, path)}
    assert began(folder).wait(60) == 0
    assert states(folder) == {DONE: 40} and content(folder) == content(whole)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())  # T25: what was finished is untouched


def is_done(folder, path):
    return any(job.file == f"made/{path.name}" and job.state == DONE for job in Run(folder).jobs())


def test_two_processes_share_the_work(whole, tmp_path):
    folder = tmp_path / "run"
    prepare(folder, SHORT, FILMED)
    processes = [began(folder), began(folder)]
    times: dict[str, int] = {}
    while any(p.poll() is None for p in processes):
        for path in (folder / "made").glob("[!.]*.mp4"):
            assert times.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns  # none twice
        time.sleep(0.01)
    assert [p.returncode for p in processes] == [0, 0]
    assert states(folder)[DONE] == 40 and content(folder) == content(whole)
    assert os.listdir(folder / "owners") == []


def test_shards_are_the_whole(whole, tmp_path):
    run = prepare(tmp_path / "run", SHORT, FILMED)
    done = []
    for i in range(3):
        work(run, RunPart(None, (i, 3)), maker=ToyRenderer())
        done.append(states(run.folder)[DONE])
    assert done == [14, 27, 40]  # a shard leaves the jobs of the others to them
    assert content(tmp_path / "run") == content(whole)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_resumable(small_disk, whole):
    folder = small_disk / "run"
    run = prepare(folder, SHORT, FILMED)
    with pytest.raises(AnimaticError, match=os.strerror(errno.ENOSPC) + "|disk is full") as error:
        work(run, RunPart(), maker=ToyRenderer())
    assert "\n" not in str(error.value) and FAILED not in states(folder)
    done = states(folder)[DONE]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    work(run, RunPart(), maker=ToyRenderer())
    assert 0 < done < 40 and states(folder) == {DONE: 40}
    assert not [p for p in (folder / "made").iterdir() if p.name.startswith(".")]


def test_what_is_gone_or_failed_is_made_again(tmp_path):
    first = replace(LVD, cases=lambda: [c for c in LVD.cases() if c.task == "dynamic"][:4])
    settings = settings_of(first, "lvd", "mini", "none", "rules")
    run = prepare(tmp_path / "run", first, settings)
    bad = ToyRenderer()
    work(run, RunPart(1), maker=lambda batch: [replace(o, state=FAILED, reason="no", data=b"") for o in bad(batch)])
    work(run, RunPart(), maker=ToyRenderer())
    assert states(run.folder) == {DONE: 3, FAILED: 1}  # a failure is kept with its reason, and not tried again
    gone = next(job for job in run.jobs() if job.state == DONE)
    (run.folder / gone.file).unlink()
    prepare(run.folder, first, settings)
    assert states(run.folder) == {DONE: 2, FAILED: 1, TODO: 1}
    prepare(run.folder, first, settings, retry=True)
    work(run, RunPart(), maker=ToyRenderer())
    assert states(run.folder) == {DONE: 4}


def test_mini_makes_what_it_knows_and_says_what_it_does_not(tmp_path):
    """The real model at one step: a batch is made as a whole, a noun it lacks is left out with the reason."""
    lmd = BENCHMARKS["lmd"]
    few = replace(lmd, cases=lambda: [lmd.cases()[i] for i in (0, 20, 200, 399)])  # backpacks, bottles, two pairs
    settings = replace(settings_of(few, "lmd", "mini", "none", "rules", steps=1), batch=3)
    run, maker = prepare(tmp_path / "run", few, settings), JobRenderer(settings)
    work(run, RunPart(), maker=maker)
    jobs = run.jobs()
    assert jobs[0].state == DONE and jobs[0].file.endswith(".png")
    assert jobs[1].state == LEFT_OUT and "cannot show 'a bottle'" in jobs[1].reason
    first = content(run.folder)
    (run.folder / jobs[0].file).unlink()
    prepare(run.folder, few, settings)
    work(run, RunPart(), maker=maker)
    assert content(run.folder) == first


REFUSED = {
    "setting": (["--seed", "3"], "seed was 0, now 3"),
    "method": (["--method", "lvd", "--prompt-only"], "method was 'none', now 'lvd'"),
    "benchmark": (["lmd"], "benchmark was 'lvd', now 'lmd'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_changed_setting_is_refused(name, whole, capsys, monkeypatch):
    arguments, message = REFUSED[name]
    monkeypatch.setattr("animatic.benchmarks.generate.JobRenderer.__init__", lambda self, settings: None)
    benchmark, rest = (arguments[0], []) if name == "benchmark" else ("lvd", arguments)
    method = [] if name == "method" else ["--method", "none"]
    with pytest.raises(SystemExit) as end:
        main(["bench", "generate", benchmark, "--out", str(whole), *method, *rest])
    error = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 2 and "was begun otherwise" in error and message in error


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(AnimaticError, match="want the folder of a run"):
        Run(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 9}))
    with pytest.raises(AnimaticError, match="version is 9; this program reads version 1"):
        Run(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.doc").touch()
    with pytest.raises(AnimaticError, match=r"holds thesis\.doc and no manifest"):
        prepare(tmp_path / "b", SHORT, FILMED)
    run = prepare(tmp_path / "c", SHORT, FILMED)
    with pytest.raises(AnimaticError, match=r"torch was '.*', now '1\.0'"):
        Run.prepared(run.folder, FILMED, {**run.versions, "torch": "1.0"}, [])
    (run.folder / "jobs.sqlite").write_text("no database, but long enough to be taken for one" * 9)
    with pytest.raises(AnimaticError, match=r"jobs\.sqlite: cannot be used"):
        run.jobs()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["xyz"], "unknown benchmark 'xyz'; known: lmd, lvd"),
        (["lvd", "--shard", "3/3"], "shard is '3/3'; want I/N with I from 0 to N - 1"),
        (["lvd", "--limit", "0"], "limit is 0; want at least 1"),
        (["lvd", "--method", "magic"], "unknown method 'magic'"),
        (["lvd", "--size", "big"], "size is 'big'"),
        (["none.py"], "none.py: no such file"),
    ],
)
def test_bad_input_makes_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["bench", "generate", *arguments, "--out", "run"])
    assert end.value.code == 2 and message in capsys.readouterr().err and os.listdir(tmp_path) == []
