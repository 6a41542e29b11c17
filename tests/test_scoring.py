"""What was generated, looked at and judged: detectors in their real formats at tiny size, metrics, reports."""

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import CHROMIUM, golden, needs_browser

from animatic.benchmarks.cases import DetectionSettings, Tally
from animatic.benchmarks.detect import DetectedBox, detect, overlap, sampled_frames, suppress
from animatic.benchmarks.generate import RunPart, prepare, settings_of, work
from animatic.benchmarks.metrics import agreement, cscv, motion
from animatic.benchmarks.registry import BENCHMARKS, DETECTORS, benchmark_named, detector_named
from animatic.benchmarks.report import published
from animatic.benchmarks.results import summarise
from animatic.benchmarks.scoring import ScoringSettings, read_score, score
from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track
from animatic.toy import world as toyworld
from animatic.toy.evals.ceiling import ToyRenderer
from animatic.video import Video

LVD = BENCHMARKS["lvd"]
SHORT = replace(LVD, cases=lambda: LVD.cases()[::50])  # two of each task
SIZES = Path(__file__).parents[1] / "examples" / "sizes.py"
NOISE = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), np.uint8)


def test_frames_looked_at_are_the_published_ones():
    assert sampled_frames(16, 6) == [0, 3, 6, 9, 12, 15] and sampled_frames(24, 6) == [0, 5, 9, 14, 18, 23]
    assert sampled_frames(1, 1) == [0]


def test_suppression():
    """T19."""
    boxes = ((0, 0, 0.5, 0.5), (0.02, 0, 0.52, 0.5), (0.6, 0.6, 0.9, 0.9), (0, 0, 0.5, 0.5))
    found = [DetectedBox(q, b, s) for q, b, s in zip((0, 0, 0, 1), boxes, (0.3, 0.6, 0.2, 0.25), strict=True)]
    kept = [f.score for f in suppress(found, DetectionSettings(nms=0.5, class_aware=False))]
    assert kept == [0.6, 0.2]
    assert [f.score for f in suppress(found, DetectionSettings(nms=0.5))] == [0.6, 0.25, 0.2]


class Told:
    """A detector that says what it is told to."""

    def __init__(self, found):
        self.found = found

    def find(self, frames, queries):
        return self.found


def test_boxes_become_tracks():
    a, b = DetectedBox(0, (0.1, 0.1, 0.3, 0.31), 0.9), DetectedBox(0, (0.6, 0.6, 0.9, 0.9), 0.5)
    frames, weak = np.zeros((2, 10, 10, 3), np.uint8), DetectedBox(0, (0, 0, 1, 1), 0.05)
    told = Told([[b, a, weak], [b]])
    best = detect(told, frames, ["cat", "dog"], "x", DetectionSettings())
    assert [t.phrase for t in best.tracks] == ["cat", "dog"] and best.tracks[1].boxes == (None, None)
    assert best.tracks[0].boxes == ((0.1, 0.1, 0.3, 0.3), b.box)  # the surest in each frame, in whole pixels
    every = detect(told, frames, ["cat", "dog"], "x", DetectionSettings(whole_pixels=False), all_boxes=True)
    assert [t.boxes for t in every.tracks] == [(a.box, b.box), (b.box, None), (None, None)]


@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
def test_owl_finds_boxes(kind, tmp_path):
    if kind == "owlv2":
        pytest.importorskip("scipy", reason="OWLv2's processor wants SciPy")
    detector = detector_named(f"{kind}:{tiny.owl(tmp_path, kind)}")
    found = detector.find(NOISE, ["cat", "a red car"])
    assert len(found) == 3 and {f.query for frame in found for f in frame} <= {0, 1}
    assert all(0 <= f.score <= 1 and all(0 <= v <= 1 for v in f.box) for frame in found for f in frame)
    assert [len(f) for f in found] == [16, 16, 16]  # one a patch, before any threshold
    one = detector.find(NOISE[1:2], ["cat", "a red car"])  # frames are looked at one by one
    assert np.allclose([f.score for f in one[0]], [f.score for f in found[1]], atol=1e-5)


def test_grounding_dino_finds_boxes(tmp_path):
    detector = detector_named(f"grounding-dino:{tiny.grounding_dino(tmp_path)}")
    found = detector.find(NOISE[:2], ["cat", "a red car"])
    assert len(found) == 2 and {f.query for frame in found for f in frame} == {0, 1}
    assert all(0 <= f.score <= 1 and all(0 <= v <= 1 for v in f.box) for frame in found for f in frame)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Ten plans of LVD, filmed exactly."""
    folder = tmp_path_factory.mktemp("score") / "run"
    made = prepare(folder, SHORT, settings_of(SHORT, "lvd", "mini", "none", "rules"))
    work(made, RunPart(), maker=ToyRenderer())
    return made


@pytest.fixture
def ten(monkeypatch):
    """The benchmark of `run` under its name."""
    monkeypatch.setitem(BENCHMARKS, "lvd", SHORT)


@pytest.mark.usefixtures("ten")
def test_from_owl_to_score(run, tmp_path):
    """Detections to Scene to the stage-1 predicates, with the published thresholds; random weights know nothing."""
    verdicts = score(run.folder, ScoringSettings(f"owlvit:{tiny.owl(tmp_path, 'owlvit')}"))
    assert len(verdicts) == 10 and all(v.passed is not None and v.frames == (0, 3, 6, 9, 12, 15) for v in verdicts)
    assert all(v.detections is not None and v.detections.keys == 6 for v in verdicts)
    assert summarise(verdicts).overall.accuracy < 0.8
    assert read_score(run.folder)[1] == verdicts


@pytest.mark.usefixtures("ten")
def test_how_a_detector_is_asked_can_be_said(run):
    """LVD's --detection_score_threshold, --nms_threshold, --class-aware-nms, --num_eval_frames; kept in score.json."""
    published = ScoringSettings("owlvit")
    assert published.detection(SHORT) == SHORT.detection and published.of_benchmark(SHORT).frames == 6
    assert (
        ScoringSettings("toy").of_benchmark(SHORT).threshold == 0.0 < 1 < ScoringSettings("toy").of_benchmark(SHORT).nms
    )

    own = ScoringSettings("owlvit", threshold=0.05, nms=0.5, class_aware=False, frames=3)
    assert own.detection(SHORT) == replace(SHORT.detection, threshold=0.05, nms=0.5, class_aware=False)
    verdicts = score(run.folder, ScoringSettings(frames=3))
    assert all(v.frames == (0, 8, 15) and v.detections.keys == 3 for v in verdicts)
    assert read_score(run.folder)[0] == ScoringSettings().of_benchmark(replace(SHORT, frames=3))
    none_is_sure_enough = summarise(score(run.folder, ScoringSettings(threshold=1.1)))
    assert none_is_sure_enough.overall.correct == 0

    # a score of before says nothing of it
    kept = json.loads((run.folder / "score.json").read_text())
    kept["scoring"] = {name: kept["scoring"][name] for name in ("detector", "rules", "metrics", "clip")}
    (run.folder / "score.json").write_text(json.dumps(kept))
    assert read_score(run.folder)[0] == ScoringSettings()


@pytest.mark.parametrize("bad", [{"threshold": -1.0}, {"nms": float("nan")}, {"frames": 0}])
def test_bad_ways_to_ask_are_one_line(bad):
    with pytest.raises(AnimaticError, match=f"{next(iter(bad))} is "):
        ScoringSettings(**bad)


@pytest.mark.usefixtures("ten")
def test_filmed_plans_pass(run):
    verdicts = score(run.folder, ScoringSettings(metrics=("plan", "motion")))
    told = summarise(verdicts)
    assert told.overall == Tally(10, 10) and told.means["in box"][0] > 0.9 and told.means["iou"][0] > 0.6
    assert 0.9 < told.means["smoothness"][0] <= 1


@pytest.mark.usefixtures("ten")
def test_a_video_that_cannot_be_read_is_wrong(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    with closing(sqlite3.connect(folder / "jobs.sqlite")) as base:  # as version 0.1 wrote it, without digests
        base.execute("update jobs set digest = ''")
        base.commit()
    (folder / "made/00000.mp4").write_bytes((folder / "made/00000.mp4").read_bytes()[:300])
    (folder / "made/00001.mp4").unlink()
    short = Video.load(folder / "made/00003.mp4")
    Video(short.frames[:4], short.fps).save(folder / "made/00002.mp4")
    told = summarise(score(folder, ScoringSettings()))
    assert told.overall == Tally(7, 10)
    assert "has no video" in told.failed[0] and "is missing" in told.failed[1] and "want 16 of 64x64" in told.failed[2]


def test_agreement_with_a_plan():
    plan = Scene("x", (Track("a red car", ((0, 0, 0.2, 0.2), (0.8, 0, 1, 0.2))), Track("dog", (None, None))))
    seen = Scene("x", (Track("car", ((0, 0, 0.2, 0.2), None)),))
    assert agreement(plan, seen, 2, [0, 1]) == {"in box": 0.5, "iou": 0.5}
    assert agreement(plan, Scene("x", (Track("cat", (None, None)),)), 2, [0, 1]) == {}
    assert overlap((0, 0, 0.5, 1), (0.25, 0, 0.75, 1)) == pytest.approx(1 / 3)


def test_cscv_as_recorded():
    recorded = {name: value["cscv"] for name, value in golden("ditctrl/g09_cscv.json").items()}
    angles = np.arange(9) * 0.3
    turning = np.stack([np.cos(angles), np.sin(angles)], 1)
    cut = np.array([[1.0, 0]] * 4 + [[0, 1.0]] * 4)
    soft = np.array([[1.0, 0]] * 4 + [[0.8, 0.6]] * 4)
    draws = {(0, 12, 16): 3.0, (1, 49, 768): 0.0}
    assert cscv(turning) == pytest.approx(recorded["uniform_rotation_9"])
    assert cscv(cut) == pytest.approx(recorded["one_cut_8"], rel=1e-6)
    assert cscv(soft) == pytest.approx(recorded["soft_cut_8"], rel=1e-6)
    first = np.random.RandomState(0).randn(12, 16) + draws[0, 12, 16]
    assert cscv(first) == pytest.approx(recorded["randn_seed0_12x16"], rel=1e-6)
    assert cscv(np.ones((5, 4))) == 1.0 and cscv(cut[:2]) == 1.0  # what stands still is the most even of all


def test_motion_is_measured():
    pytest.importorskip("cv2", reason="motion wants OpenCV")
    slides = Scene("x", (Track("red ball", ((0, 0.25, 0.5, 0.75), (0.5, 0.25, 1, 0.75))),), "grass")
    moving, _ = toyworld.draw(slides, 8)
    still = moving[:1].repeat(8, 0)
    assert motion(still) == {"dynamic": 0.0, "smoothness": 1.0} and motion(moving)["dynamic"] == 1.0
    jerky = moving[[0, 5, 1, 6, 2, 7, 3, 4]]
    assert motion(jerky)["smoothness"] < motion(moving)["smoothness"] < 1


def test_clip_sees_likeness(tmp_path):
    from animatic.benchmarks.clip import ClipMetrics

    clip = ClipMetrics(str(tiny.clip(tmp_path)))
    values = clip(NOISE, "a cat")
    assert set(values) == {"clip text", "clip consistency", "cscv", "cscv frozen"} and values["cscv frozen"] == 1.0
    still = clip(NOISE[:1].repeat(3, 0), "a cat")
    assert still["clip consistency"] == pytest.approx(1, abs=1e-5) and values["clip consistency"] < 1
    assert set(clip(NOISE[:1], "a cat")) == {"clip text"}


def test_fvd(run, tmp_path):
    pytest.importorskip("torchmetrics", reason="FVD wants torchmetrics")
    from animatic.benchmarks.fvd import FrechetVideoDistance

    distance = FrechetVideoDistance(str(tiny.videomae(tmp_path)))
    real = [Video(run.video(job).frames) for job in run.jobs()]
    noise = [Video(np.random.default_rng(i).integers(0, 256, (8, 64, 64, 3), np.uint8)) for i in range(10)]
    assert distance(real, real) < 1e-2 < distance(noise, real)
    with pytest.raises(AnimaticError, match=r"i3d\.pt: weights are not on this machine"):
        FrechetVideoDistance("i3d.pt")
    with pytest.raises(AnimaticError, match="want at least 2 of each"):
        distance.of_run(run, str(tmp_path))


class Averages(torch.nn.Module):
    """Called as the I3D file is: the mean of each colour, 400 times."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        return x.mean((2, 3, 4)).mean(1, keepdim=True).repeat(1, 400)


def test_fvd_through_a_torchscript_file(run, tmp_path):
    pytest.importorskip("torchmetrics", reason="FVD wants torchmetrics")
    from animatic.benchmarks.fvd import FrechetVideoDistance

    torch.jit.script(Averages()).save(tmp_path / "i3d.pt")
    found = FrechetVideoDistance(str(tmp_path / "i3d.pt")).of_run(run, str(run.folder / "made"))
    assert found["n"] == 10 and abs(found["mean"]) < 50  # mp4 against mp4 at two sizes


def test_missing_weights_are_one_line():
    for name in DETECTORS:
        if name != "toy":
            with pytest.raises(AnimaticError, match="weights are not on this machine") as error:
                detector_named(f"{name}:none/such")
            assert "\n" not in str(error.value)
    with pytest.raises(AnimaticError, match="unknown detector 'eye'; known: toy, owlvit"):
        detector_named("eye")
    with pytest.raises(AnimaticError, match="unknown metric 'beauty'"):
        ScoringSettings(metrics=("beauty",))


def test_published_tables_add_up():
    assert [len(published(name, 1)) + len(published(name)) for name in ("lmd", "lvd")] == [12, 6]
    for name, tasks in (("lmd", 4), ("lvd", 5)):
        for row in (*published(name, 1), *published(name)):
            assert len(row.scores) == tasks and abs(np.mean(row.scores) - row.overall) <= 0.6


def bench(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["bench", *arguments])
    return end.value.code, *capsys.readouterr()


@pytest.mark.usefixtures("ten")
def test_report_stands_alone(run, tmp_path, capsys):
    code, out, error = bench(capsys, "score", str(run.folder), "--workers", "1", "--json")
    assert code == 0 and json.loads(out)["tasks"]["overall"] == {"correct": 10, "total": 10}
    code, out, error = bench(capsys, "report", str(run.folder), "--out", str(tmp_path / "r.html"))
    assert code == 0, error
    page, table = ((tmp_path / f"r.{suffix}").read_text() for suffix in ("html", "md"))
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page) and "<script" not in page  # nothing from elsewhere
    assert page.count("data:image/webp") == 10 and "100.0% (72-100)" in page and "49.4%" in page
    assert "| run | none | 10 |" in table and "*published*" in table
    code, _, error = bench(capsys, "report", str(tmp_path), "--out", str(tmp_path / "r.html"))
    assert code == 2 and "want the folder of a run" in error


@pytest.mark.browser
@needs_browser
@pytest.mark.usefixtures("ten")
def test_the_page_opens_in_a_browser(run, tmp_path, capsys):
    score(run.folder, ScoringSettings())
    bench(capsys, "report", str(run.folder), "--out", str(tmp_path / "r.html"))
    chromium = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    shot = subprocess.run(
        [*chromium, f"--screenshot={tmp_path}/r.png", f"file://{tmp_path}/r.html"], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert (tmp_path / "r.png").stat().st_size > 10_000 and "CONSOLE" not in shot.stderr


def test_a_benchmark_of_your_own(tmp_path, capsys):
    sizes = benchmark_named(str(SIZES))
    made = prepare(tmp_path / "run", sizes, settings_of(sizes, str(SIZES), "mini", "none", "rules"))
    work(made, RunPart(6), maker=ToyRenderer())
    own = str(SIZES)
    code, out, _ = bench(capsys, "score", str(tmp_path / "run"), "--benchmark", own, "--workers", "2", "--json")
    told = json.loads(out)
    alone = score(made.folder, ScoringSettings(benchmark=own))
    assert alone == read_score(made.folder)[1]  # however many processes
    assert code == 0 and told["tasks"]["size"]["total"] == 6 and told["unmade"] == 14
    assert told["tasks"]["size"]["correct"] >= 4
    (tmp_path / "b.py").write_text("BENCHMARK = 3")
    with pytest.raises(AnimaticError, match="BENCHMARK is int; want"):
        benchmark_named(str(tmp_path / "b.py"))


def test_one_task_of_a_benchmark(tmp_path):
    """LMD's negation alone: the cases and seeds of the whole, judged as there, and scored by its own name."""
    whole, part = benchmark_named("lmd"), benchmark_named("lmd:negation")
    assert [case.prompt for case in part.cases()] == [case.prompt for case in whole.cases()[:100]]
    assert (part.kind, part.frames, part.detection) == (whole.kind, whole.frames, whole.detection)
    made = prepare(tmp_path / "run", part, settings_of(part, "lmd:negation", "mini", "none", "rules"))
    work(made, RunPart(10), maker=ToyRenderer())
    found = summarise(score(made.folder, ScoringSettings()))
    assert found.tasks == {"negation": Tally(8, 8)} and len(found.left_out) == 2  # an empty scene shows none of them
    assert benchmark_named(f"{SIZES}:size").cases()
    for name, words in (
        ("lmd:poetry", "'lmd' has no task 'poetry'; want one of negation, numeracy, attribution, spatial"),
        ("nobody:negation", "unknown benchmark 'nobody'; known: lmd"),
    ):
        with pytest.raises(AnimaticError, match=words):
            benchmark_named(name)
