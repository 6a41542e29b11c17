"""A long run on Ray: 500 jobs on two workers, one of which is killed every 50 jobs. Each job is done once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import close_frames
from test_cluster import workers

from animatic.benchmarks.jobs import DONE
from animatic.benchmarks.run_store import Run

pytest.importorskip("ray", reason="Ray is not installed (animatic[cluster])")
JOBS = 500
BETWEEN_KILLS = 50  # jobs
STALL = 900.0  # seconds without a new job; the whole takes as long as a busy machine needs
COMMAND = [
    sys.executable, "-m", "animatic", "bench", "generate", "lvd", "--method", "none", "--steps", "1", "--frames", "1",
    "--limit", str(JOBS), "--threads", "1",
]  # fmt: skip


def done_in(folder: Path) -> int:
    """The finished jobs of a run, 0 before it begins."""
    return Run(folder).states().get(DONE, 0) if (folder / "manifest.json").exists() else 0


def started(pid: int) -> int:
    """When a process began, in ticks of the clock; numbers of processes begin anew at their end. 0 where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])  # field 22, proc(5)


def kill_every(process: subprocess.Popen[str], folder: Path, jobs: int) -> list[int]:
    """Kill a worker whenever `jobs` more jobs are done, until the process ends; returns what was done at each kill.

    Also ends where no job is done for `STALL` seconds.
    """
    kills: list[int] = []
    before, last = 0, time.monotonic()
    while process.poll() is None and time.monotonic() < last + STALL:
        time.sleep(0.1)
        done = done_in(folder)
        if done > before:
            before, last = done, time.monotonic()
        if done < (len(kills) + 1) * jobs or done >= JOBS:
            continue

        # The older one, which is at work while the other still loads its model: a batch may be lost twice, no more.
        if alive := [pid for pid in workers(process.pid) if started(pid)]:
            os.kill(min(alive, key=started), signal.SIGKILL)
            kills.append(done)
    return kills


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers through /proc")
@pytest.mark.sweep("1,000 jobs, and a model loaded a dozen times: three minutes")
def test_a_long_run_outlives_its_workers(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'}
    output = tmp_path / "output.txt"  # a pipe that nobody reads would fill up
    with output.open("w") as stream:
        process = subprocess.Popen(
            [*COMMAND, "--cluster", "--out", "ray"], cwd=tmp_path, env=environment, stdout=stream,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            kills = kill_every(process, tmp_path / "ray", BETWEEN_KILLS)
        finally:
            process.kill()
            process.wait()
    printed = output.read_text()
    if "Ray could not begin" in printed:
        pytest.skip(printed.splitlines()[-1])  # a machine too busy for it
    reached = f"{done_in(tmp_path / 'ray')} of {JOBS} jobs after kills at {kills}"
    assert process.returncode == 0, f"{reached}: {printed}"
    assert len(kills) == JOBS // BETWEEN_KILLS - 1, kills

    # Every job once: a row and a video each, and nothing half written.
    run = Run(tmp_path / "ray")
    assert run.states() == {DONE: JOBS}
    names = {f"{number:05d}.{suffix}" for number in range(JOBS) for suffix in ("json", "png")}
    assert {path.name for path in (tmp_path / "ray/made").iterdir()} == names

    # The frames of one process.
    alone = subprocess.run([*COMMAND, "--out", "alone"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    other = Run(tmp_path / "alone")
    for job, same in zip(run.jobs(), other.jobs(), strict=True):
        assert job.seed == same.seed and job.prompt == same.prompt
        assert job.digest == same.digest or close_frames(run.video(job).frames, other.video(same).frames), job.number
