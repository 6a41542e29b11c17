"""Memory stays flat: many renders, jobs of the studio or of a benchmark in one process hold no more than a few.

Resident memory needs many of them until a leak is more than noise. What Python holds can be counted exactly, after few:
the bytes of its tensors, and those of its other objects and of numpy's arrays.
"""

import gc
import time
import tracemalloc
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
import torch

import animatic
from animatic.benchmarks.generate import RunPart, prepare, settings_of, work
from animatic.benchmarks.jobs import DONE
from animatic.benchmarks.registry import BENCHMARKS

MOST_GROWTH = 0.02
WARM_UP = 0.2  # of the work: allocators and caches fill
RENDERS, STUDIO_JOBS, BENCHMARK_JOBS = 100, 100, 1000
ONE_FRAME = 64 * 64 * 3  # bytes, of `mini`: the least that is made in a render and could stay
PROMPT = "A bear walks from the left to the right"


@dataclass
class MemoryCurve:
    """Resident memory of this process after every tenth part of the work."""

    count: int
    done: int = 0
    resident: list[int] = field(default_factory=list)

    def tick(self) -> None:
        self.done += 1
        if self.done % (self.count // 10) == 0:
            gc.collect()
            self.resident.append(psutil.Process().memory_info().rss)

    def check(self) -> None:
        print([round(bytes / 2**20, 1) for bytes in self.resident], "MiB")
        assert len(self.resident) == 10
        first, *later = self.resident[round(10 * WARM_UP) - 1 :]
        assert max(later) <= first * (1 + MOST_GROWTH)


def tensor_bytes() -> int:
    """Of all tensors that Python can reach; those that share their memory count once."""
    storages = {}
    for each in gc.get_objects():
        # `isinstance` asks some lazy modules for their class, and is warned of what is deprecated in them;
        # other kinds, such as those that only have a shape, hold no memory
        if type(each) in (torch.Tensor, torch.nn.Parameter) and each.device.type == "cpu":
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def test_a_render_leaves_nothing_behind() -> None:
    model = animatic.load("mini", "cpu")
    scene = animatic.plan(PROMPT)
    tensors, others = [], []
    tracemalloc.start()
    try:
        for seed in range(4):
            animatic.render(scene, model, "lvd", seed, steps=1, frames=2)
            gc.collect()
            tensors.append(tensor_bytes())
            others.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    print(tensors, others, "bytes")

    # the first two fill caches
    assert tensors[3] == tensors[1]
    assert others[3] - others[1] < 2 * ONE_FRAME


@pytest.mark.sweep("a hundred renders")
def test_a_hundred_renders_hold_no_more_than_twenty() -> None:
    model = animatic.load("mini", "cpu")
    scene = animatic.plan(PROMPT)
    curve = MemoryCurve(RENDERS)
    for seed in range(RENDERS):
        animatic.render(scene, model, "lvd", seed, steps=2)
        curve.tick()
    curve.check()


@pytest.mark.sweep("a hundred jobs of the studio")
def test_a_hundred_jobs_of_the_studio_hold_no_more_than_twenty(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the studio's extra is not installed")
    from animatic.rendering import request_of
    from animatic.studio import log
    from animatic.studio.job_request import JobRequest
    from animatic.studio.work import Studio

    studio = Studio(tmp_path / "studio", models=("mini",))
    scene = animatic.plan(PROMPT)
    curve = MemoryCurve(STUDIO_JOBS)
    try:
        for seed in range(STUDIO_JOBS):
            request = request_of((scene,), "mini", "none", seed, steps=1, frames=1)
            name = studio.submit("render", JobRequest(request).to_dict()).id
            while (state := studio.log.get(name).state) in (log.WAITING, log.RUNNING):
                time.sleep(0.01)
            assert state == log.DONE
            curve.tick()
    finally:
        studio.close()
    curve.check()


@pytest.mark.sweep("a thousand jobs of a benchmark")
def test_a_thousand_jobs_of_a_benchmark_hold_no_more_than_two_hundred(tmp_path: Path) -> None:
    lvd = BENCHMARKS["lvd"]
    twice = replace(lvd, cases=lambda: [*lvd.cases(), *lvd.cases()])
    settings = settings_of(twice, "lvd", "mini", "none", "rules", steps=1, frames=1)
    run = prepare(tmp_path / "run", twice, settings)
    curve = MemoryCurve(BENCHMARK_JOBS)
    before = 0

    def tick(done: int, count: int) -> None:
        nonlocal before
        for _ in range(done - before):
            curve.tick()
        before = done

    work(run, RunPart(), tick)
    assert run.states() == {DONE: BENCHMARK_JOBS}
    curve.check()
