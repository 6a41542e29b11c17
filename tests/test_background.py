"""Writing beside rendering: in order, with one video waiting at most, and no error lost."""

import threading
from dataclasses import replace

import pytest

from animatic.background import Background
from animatic.benchmarks.generate import RunPart, prepare, settings_of, work
from animatic.benchmarks.jobs import DONE, Outcome
from animatic.benchmarks.registry import BENCHMARKS
from animatic.benchmarks.run_store import Run
from animatic.errors import AnimaticError

LVD = BENCHMARKS["lvd"]
FEW = replace(LVD, cases=lambda: LVD.cases()[:3])
SECONDS = 20  # until a test that waits in vain fails


def test_results_in_order():
    with Background() as background:
        for number in range(5):
            background.submit(lambda n: n * n, number)
    assert background.results == [0, 1, 4, 9, 16]


def test_the_caller_goes_on_and_waits_for_the_task_before():
    begun, free = threading.Event(), threading.Event()
    with Background() as background:
        background.submit(lambda: begun.set() or free.wait(SECONDS))
        assert begun.wait(SECONDS) and not background.results  # the first runs, and this goes on
        free.set()
        background.submit(str)
        assert background.results == [True]


def submit(*tasks) -> None:
    with Background() as background:
        for task in tasks:
            background.submit(task)


def refuse() -> None:
    raise AnimaticError("the disk is full")


def test_an_error_is_raised_by_the_next_task_or_at_the_end():
    done = []
    for tasks in ([refuse, lambda: done.append(1)], [refuse]):
        with pytest.raises(AnimaticError, match="full"):
            submit(*tasks)
    assert not done


def test_a_task_is_ended_when_its_caller_fails():
    def interrupted(done):
        with Background() as background:
            background.submit(done.append, 1)
            raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(done)
    assert done == [1]


@pytest.fixture
def run(tmp_path) -> Run:
    return prepare(tmp_path / "run", FEW, settings_of(FEW, "lvd", "mini", "none", "rules"))


def outcomes(batch):
    return [Outcome(job.number, DONE, data=b"video", suffix=".mp4", shape=(1, 8, 8)) for job in batch]


def test_a_batch_is_written_while_the_next_one_is_rendered(run, monkeypatch):
    rendering, kept = [threading.Event() for _ in range(3)], []
    keep = Run.keep

    def waiting(self, outcome, plan):
        # the first job is not written before the second is being rendered
        if not kept:
            assert rendering[1].wait(SECONDS)
        keep(self, outcome, plan)
        kept.append(outcome.number)

    def maker(batch):
        rendering[batch[0].place].set()
        return outcomes(batch)

    monkeypatch.setattr(Run, "keep", waiting)
    seen = []
    work(run, RunPart(), lambda done, count: seen.append((done, count)), maker)
    assert len(kept) == 3 and run.states() == {DONE: 3}
    assert seen[0] == (0, 3) and seen[-1] == (3, 3)


def test_what_cannot_be_written_ends_the_run_in_one_line_and_is_free_again(run, monkeypatch):
    def full(self, outcome, plan):
        if outcome.number == second:
            raise AnimaticError("run/made: no space left")
        keep(self, outcome, plan)

    keep = Run.keep
    second = sorted(run.jobs(), key=lambda job: job.place)[1].number
    monkeypatch.setattr(Run, "keep", full)
    with pytest.raises(AnimaticError, match=r"^run/made: no space left$"):
        work(run, RunPart(), maker=outcomes)
    assert run.states() == {DONE: 1, "todo": 2}

    # and the same again makes the rest
    monkeypatch.undo()
    work(run, RunPart(), maker=outcomes)
    assert run.states() == {DONE: 3}
