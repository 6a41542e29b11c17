"""A run on Ray: two workers on this machine, one of them killed at work; the frames are those of one process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from animatic.benchmarks.jobs import DONE
from animatic.benchmarks.run_store import Run

pytest.importorskip("ray", reason="Ray is not installed (animatic[cluster])")
COMMAND = [
    sys.executable, "-m", "animatic", "bench", "generate", "lvd", "--method", "none", "--steps", "2", "--frames", "2",
    "--limit", "8", "--threads", "1",
]  # fmt: skip


def workers(parent: int) -> list[int]:
    """Descendants of a process that hold a model."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
            names[pid] = (stat.parent / "cmdline").read_text().split("\0")[0]
        except OSError:
            continue
        children.setdefault(int(rest[1]), []).append(pid)
    found, queue = [], [parent]
    while queue:
        queue += (below := children.get(queue.pop(), []))
        found += [pid for pid in below if names[pid].startswith("ray::Worker")]
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers through /proc")
@pytest.mark.slow("Ray begins, and three processes load a model")
def test_a_lost_worker_costs_nothing(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'}
    process = subprocess.Popen(
        [*COMMAND, "--cluster", "--out", "ray"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline, killed = time.monotonic() + 300, 0
        while not killed and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            if (tmp_path / "ray/manifest.json").exists() and Run(tmp_path / "ray").states().get(DONE, 0):
                victims = workers(process.pid)
                if len(victims) == 2:
                    os.kill(victims[0], signal.SIGKILL)
                    killed = victims[0]
        told, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    if "Ray could not begin" in told:
        pytest.skip(told.splitlines()[-1])  # a machine too busy for it
    assert killed and process.returncode == 0, told
    alone = subprocess.run([*COMMAND, "--out", "alone"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name / "made").iterdir()} for name in ("ray", "alone"))
    assert Run(tmp_path / "ray").states()[DONE] == 8 and len(one) == 16 and one == two
