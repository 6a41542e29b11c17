"""Work that is killed and loses its power: a benchmark run, a training run, a finishing chain and the studio.

Each takes its work up where the folder says, reports what it has finished as its users are told of it, and can say
whether what was reported is there and whole.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from animatic.video import Video

Note = Callable[[str], None]
JOBS = 2  # of the benchmark run and of the studio
STEPS = 3  # of the training run


class Subject(ABC):
    name: str

    def begin(self, place: Path) -> None:  # noqa: B027 - most begin in an empty folder
        """What is there, and on the disk, before the work."""

    @abstractmethod
    def work(self, place: Path, note: Note) -> None:
        """Begin the work or take it up, to its end; `note` gets each thing once it is said to be finished."""

    @abstractmethod
    def check(self, place: Path, notes: Sequence[str]) -> None:
        """Raise where something that was reported is not there, or not whole."""

    @abstractmethod
    def compare(self, whole: Path, place: Path) -> None:
        """Raise where the end is another than that of work that was never cut."""


class BenchmarkRun(Subject):
    """Two cases of LVD's benchmark, drawn by the toy world; a job is reported by the progress that counts it."""

    name = "bench generate"

    def __init__(self) -> None:
        from animatic.benchmarks.generate import settings_of
        from animatic.benchmarks.registry import BENCHMARKS
        from animatic.toy.evals.ceiling import ToyRenderer

        lvd = BENCHMARKS["lvd"]
        cases = lvd.cases()[:: 500 // JOBS][:JOBS]
        self.benchmark = replace(lvd, cases=lambda: cases)
        self.settings = settings_of(self.benchmark, "lvd", "mini", "none", "rules")
        self.renderer = ToyRenderer()

    def work(self, place: Path, note: Note) -> None:
        from animatic.benchmarks.generate import RunPart, prepare, work

        run = prepare(place / "run", self.benchmark, self.settings)
        work(run, RunPart(), lambda done, count: note(str(done)), self.renderer)

    def check(self, place: Path, notes: Sequence[str]) -> None:
        from animatic.benchmarks.jobs import DONE
        from animatic.benchmarks.run_store import Run

        if not notes:
            return
        run = Run(place / "run")
        done = [job for job in run.jobs() if job.state == DONE]
        reported = max(int(note) for note in notes)
        assert len(done) >= reported, f"{len(done)} jobs are done, {reported} were reported"
        for job in done:
            assert len(run.video(job)) == job.frames

    def compare(self, whole: Path, place: Path) -> None:
        one, other = (
            {path.name: path.read_bytes() for path in (folder / "run" / "made").iterdir()} for folder in (whole, place)
        )
        assert len(one) == 2 * JOBS and one == other, f"{sorted(one)} and {sorted(other)}"


class TrainingRun(Subject):
    """Three steps of a small network with a checkpoint after each, which is reported by the step that follows it."""

    name = "train"

    def __init__(self) -> None:
        # every try is a fork: what is imported here is imported once
        import safetensors.torch

        import animatic.training.fit  # noqa: F401
        from animatic.training import conditioning

        conditioning.TOY_CAPTIONS = 200  # captions that its tokenizer is trained on: thousands take a second

        # It renames its file by a system call of its own, which no recorder in the C library sees.
        def plainly(tensors: Any, filename: Any, metadata: Any = None) -> None:
            Path(filename).write_bytes(safetensors.torch.serialize(tensors, metadata=metadata))

        safetensors.torch.serialize_file = plainly

    def work(self, place: Path, note: Note) -> None:
        from animatic.training.fit import fit
        from animatic.training.settings import TrainingSettings

        settings = TrainingSettings(
            data="toy", frames=2, size="16", dim=8, multiples="1", batch_size=1, steps=STEPS, warmup_steps=1,
            save_every=1, sample_every=0, learning_rate=1e-3, out=str(place / "run"),
        )  # fmt: skip
        fit(settings, lambda done, count, values: note(str(done - 1)))
        note("model")

    def check(self, place: Path, notes: Sequence[str]) -> None:
        from animatic.training.checkpoints import DIGESTS, _digests

        reported = STEPS if "model" in notes else max((int(note) for note in notes), default=0)
        whole = []
        for folder in (place / "run" / "checkpoints").glob("step-*"):
            digests = folder / DIGESTS
            if digests.exists() and json.loads(digests.read_text()) == _digests(folder):
                whole.append(int(folder.name[5:]))
        assert max(whole, default=0) >= reported, f"whole checkpoints are {whole}, step {reported} was reported"
        if "model" in notes:
            assert self._weights(place)

    def compare(self, whole: Path, place: Path) -> None:
        from conftest import distance

        apart = distance(self._weights(whole), self._weights(place))
        assert apart < 1e-4, f"weights are {apart:.1g} of their norm apart"
        lines = (place / "run" / "log.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == list(range(1, STEPS + 1)), f"the log has steps {steps}"

    def _weights(self, place: Path) -> dict[str, Any]:
        from safetensors.torch import load_file

        files = sorted((place / "run" / "model").glob("*/*.safetensors"))
        assert files, "the model has no weights"
        return {f"{file.parent.name}/{key}": value for file in files for key, value in load_file(file).items()}


class FinishingChain(Subject):
    """A video through two stages by the command line, reported when the command ends."""

    name = "finish"

    def __init__(self) -> None:
        # every try is a fork: what is imported here is imported once
        import animatic.cli.finish
        import animatic.finishing.stages  # noqa: F401

    def begin(self, place: Path) -> None:
        frames = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
        Video(frames, 4.0, {"prompt": "a bear"}).save(place / "clip.mkv", scale=1)

    def work(self, place: Path, note: Note) -> None:
        from animatic.cli import main

        command = ["finish", str(place / "clip.mkv"), "--then", "lanczos:2,lanczos:2", "-o", str(place / "made.mkv")]
        code: Any = 1
        try:
            main(command)
        except SystemExit as end:
            code = end.code
        assert not code, f"exit code {code}"
        note("made")

    def check(self, place: Path, notes: Sequence[str]) -> None:
        assert len(Video.load(place / "clip.mkv")) == 3
        if notes or (place / "made.mkv").exists():
            assert Video.load(place / "made.mkv").frames.shape == (3, 128, 128, 3)

    def compare(self, whole: Path, place: Path) -> None:
        made = [folder / "made.mkv" for folder in (whole, place)]
        one, other = (Video.load(file).frames for file in made)
        assert np.array_equal(one, other), "other frames"
        assert not list(place.glob("made-*")), "a second result beside the first"


class StudioQueue(Subject):
    """Two jobs of one frame; each is reported when it is taken in, and when it is done."""

    name = "studio"

    def __init__(self) -> None:
        from animatic.binding import load_model
        from animatic.request import GenerationRequest
        from animatic.studio import models

        # every try is a fork: the model is loaded once for all of them
        model = load_model(GenerationRequest((), "mini"))
        models.load_model = lambda request: model

    def work(self, place: Path, note: Note) -> None:
        from animatic import Scene, Track
        from animatic.rendering import request_of
        from animatic.studio.job_request import JobRequest
        from animatic.studio.log import RUNNING, WAITING
        from animatic.studio.work import Studio

        bear = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
        studio = Studio(place / "studio", models=("mini",))
        try:
            # those that an earlier studio did not come to report are asked for again
            asked = {record.request["generation"]["sampling"]["seed"] for record in studio.log.all()}
            for seed in sorted(set(range(JOBS)) - asked):
                request = JobRequest(request_of((bear,), "mini", "none", seed, steps=1, frames=1))
                note(f"taken {studio.submit('render', request.to_dict()).id}")
            while any(record.state in (WAITING, RUNNING) for record in studio.log.all()):
                time.sleep(0.005)
            for record in studio.log.all():
                note(f"{record.state} {record.id}")
        finally:
            studio.close()

    def check(self, place: Path, notes: Sequence[str]) -> None:
        from animatic.studio.log import DONE, Log

        log = Log(place / "studio")
        for note in notes:
            state, name = note.split()
            record = log.get(name)
            if state == DONE:
                assert record.state == DONE, f"a finished job is {record.state}"
        for record in log.all():
            if record.state == DONE:
                assert len(log.video(record.id, 0)) == 1 and log.file(record.id, record.files[0]["mp4"]).stat().st_size

    def compare(self, whole: Path, place: Path) -> None:
        one, other = self._made(whole), self._made(place)
        assert set(one) == set(range(JOBS))
        for seed, frames in other.items():
            # one that was at work is said to have failed, and may be rendered again
            assert frames is None or np.array_equal(frames, one[seed]), f"other frames of seed {seed}"
        assert set(other) == set(range(JOBS)), f"jobs of seeds {sorted(other)}"

    def _made(self, place: Path) -> dict[int, Any]:
        from animatic.studio.log import DONE, FAILED, Log

        log = Log(place / "studio")
        found: dict[int, Any] = {}
        for record in log.all():
            assert record.state in (DONE, FAILED), record.state
            assert record.state == DONE or "stopped in the middle" in record.message, record.message
            seed = record.request["generation"]["sampling"]["seed"]
            found[seed] = log.video(record.id, 0).frames if record.state == DONE else None
        return found


SUBJECTS: dict[str, type[Subject]] = {
    subject.name: subject for subject in (BenchmarkRun, TrainingRun, FinishingChain, StudioQueue)
}
