"""Runs that cannot be, or fail: said once and before the work, in short, and never with a quiet exit code."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from conftest import MINI

from animatic import Scene, Track, load
from animatic.backbones.small_model import Labels
from animatic.benchmarks import fvd
from animatic.benchmarks.generate import JobRenderer, RunPart, prepare, settings_of, work
from animatic.benchmarks.jobs import DONE, FAILED
from animatic.benchmarks.registry import BENCHMARKS, benchmark_named, detector_named
from animatic.benchmarks.results import summarise
from animatic.benchmarks.run_store import Run
from animatic.benchmarks.scoring import ScoringSettings, score
from animatic.binding import bind
from animatic.checking import check
from animatic.cli import main
from animatic.errors import MOST, AnimaticError, listed
from animatic.planning.replies import read
from animatic.rendering import render, request_of
from animatic.scene import parse_story
from animatic.video import Video

LVD = BENCHMARKS["lvd"]
CAT = Scene("a cat", (Track("cat", ((0.2, 0.2, 0.7, 0.7),)),))


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return tiny.wan(tmp_path_factory.mktemp("models") / "wan")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.folder(tmp_path_factory.mktemp("models") / "sd", tiny.unet2d())


def ends(*arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["bench", *map(str, arguments)])
    said = capsys.readouterr()
    return end.value.code, said.err.strip().splitlines()[-1] if said.err.strip() else "", said.out + said.err


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("lvd-gligen", "method 'lvd-gligen' needs a model that is conditioned on boxes (GLIGEN), and wan is not"),
        ("lmd+", "method 'lmd+' needs a model that is conditioned on boxes (GLIGEN), and wan is not"),
        ("lmd:sam", "SAM 'facebook/sam-vit-base' cannot be loaded"),
    ],
)
def test_a_method_that_can_never_work_is_refused_before_the_first_job(method, message, wan, tmp_path, capsys):
    out = tmp_path / "run"
    code, line, _ = ends(
        "generate", "lvd", "--model", wan, "--method", method, "--limit", "2", "--out", out, capsys=capsys
    )
    assert code == 2 and message in line and not out.exists()


def test_layers_that_a_model_does_not_have_are_named_with_the_method(wan):
    """As for a method whose layers are those of another network."""
    from animatic import load
    from animatic.controls.energy import Energy
    from animatic.controls.guidance import Guidance
    from animatic.controls.terms import BoxEnergy
    from animatic.methods import ANY, Method

    energy = Energy(BoxEnergy(), ("mid_block.attentions.0", "up_blocks.1.*"))
    elsewhere = Method("elsewhere", "An energy on the layers of another network.", {ANY: (Guidance(), energy)})
    model = load(str(wan))
    with pytest.raises(AnimaticError) as error:
        check(request_of((CAT,), model, elsewhere, 0, steps=2), model, elsewhere)
    lacking = "reads attention layers that wan does not have (mid_block.attentions.0 and 1 more)"
    assert f"method 'elsewhere' {lacking}" in str(error.value)
    check(request_of((CAT,), model, "lvd", 0, steps=2), model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 99}, "frames is 99"),
        ({"size": (62, 64)}, f"width is 62; this model takes multiples of {MINI['vae_spatial_ratio']} pixels"),
        ({"steps": 0}, "steps is 0"),
        ({"scheduler": "warp"}, "unknown scheduler 'warp'"),
        ({"kind": "story", "frames": 4}, "frames is 4; a story lasts the seconds"),
    ],
)
def test_what_no_job_could_be_made_with(changes, message):
    given = {"kind": "video", "method": "none", **changes}
    sampling = {name: value for name, value in changes.items() if name not in ("kind", "method")}
    settings = settings_of(LVD, "lvd", "mini", given["method"], "rules", **sampling)
    with pytest.raises(AnimaticError, match=message):
        JobRenderer(replace(settings, kind=given["kind"]))


def test_a_benchmark_of_videos_wants_a_model_of_videos(pictures):
    with pytest.raises(AnimaticError, match="is of videos, and sd makes pictures"):
        JobRenderer(settings_of(LVD, "lvd", str(pictures), "none", "rules"))
    JobRenderer(settings_of(BENCHMARKS["lmd"], "lmd", str(pictures), "none", "rules", steps=2))


FAILING = """
from animatic.benchmarks.cases import Benchmark, Case
def holds(layout, rules):
    return True
CASES = [Case("one", "a bear walks to the right", holds, ("bear",)), Case("one", "then it moves", holds, ("bear",))]
BENCHMARK = Benchmark("two", lambda: CASES)
"""


def test_failures_are_in_the_exit_code_and_in_the_denominator(tmp_path, capsys):
    """One prompt that the planner cannot read: exit code 1, again on resuming, and half of the score is wrong."""
    (tmp_path / "two.py").write_text(FAILING)
    arguments = (
        "generate", tmp_path / "two.py", "--method", "lvd", "--steps", "1", "--frames", "2", "--threads", "1",
        "--cache", "none", "--out", tmp_path / "run",
    )  # fmt: skip
    for _ in range(2):
        code, _, said = ends(*arguments, capsys=capsys)
        assert code == 1 and "1 x no plan: the prompt 'then it moves' names no object" in said.replace("\n", " ")
    assert Run(tmp_path / "run").states() == {DONE: 1, FAILED: 1}
    overall = summarise(
        score(tmp_path / "run", ScoringSettings(metrics=(), benchmark=str(tmp_path / "two.py")))
    ).overall
    assert (overall.correct, overall.total) == (1, 2)
    few = replace(LVD, cases=lambda: LVD.cases()[:1])
    settings = replace(settings_of(few, "lvd", "mini", "none", "rules", steps=1, frames=1), prompt_only=True)
    run = prepare(tmp_path / "fine", few, settings)
    work(run, RunPart(), maker=JobRenderer(settings))
    assert run.states() == {DONE: 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "lvd", "--replies", "r.json", "--detector", "toy"], "--detector is of the videos of a run"),
        (["score", "lvd", "--replies", "r.json", "--metrics", "clip"], "--metrics is of the videos of a run"),
        (["plan", "lvd", "--limit", "0"], "limit is 0; want at least 1"),
        (["plan", "lvd", "--limit", "-3"], "limit is -3; want at least 1"),
        (["plan", "lvd", "--temperature", "1"], "temperature is given, but planner 'rules' takes none"),
    ],
)
def test_options_without_use_are_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text("{}")
    code, line, _ = ends(*arguments, capsys=capsys)
    assert code == 2 and message in line


def test_options_of_scores(tmp_path, capsys):
    few = replace(LVD, cases=lambda: LVD.cases()[:1])
    run = prepare(tmp_path / "run", few, settings_of(few, "lvd", "mini", "none", "rules"))
    for options, message in (
        (["--clip", "x"], "want --metrics clip"),
        (["--fvd-features", "x"], "want a folder of real videos"),
        (["--workers", "0"], "workers is 0; want at least 1"),
        (["--detector", "toy:x"], "the toy detector has no weights"),
    ):
        code, line, _ = ends("score", run.folder, *options, capsys=capsys)
        assert code == 2 and (message in line or "other prompts" in line), line
    with pytest.raises(AnimaticError, match="the toy detector has no weights"):
        detector_named("toy:weights")


def test_a_studio_server_without_a_planner(capsys):
    with pytest.raises(SystemExit) as end:
        main(["studio", "--base-url", "http://127.0.0.1:1/v1"])
    assert end.value.code == 2 and "want --planner openai:MODEL too" in capsys.readouterr().err


def test_replies_to_other_prompts_are_counted(tmp_path, capsys):
    (tmp_path / "r.json").write_text(json.dumps({"a zebra": ["x"], "a horse": ["y"]}))
    code, line, _ = ends("score", "lvd", "--replies", tmp_path / "r.json", capsys=capsys)
    assert not code and line == f"2 prompts of {tmp_path / 'r.json'} are none of lvd; not counted"


def test_real_videos_are_found_whatever_the_case_of_their_names(tmp_path, monkeypatch):
    made = Video(tiny.torch.zeros(2, 8, 8, 3, dtype=tiny.torch.uint8).numpy())
    for name in ("a.mp4", "b.gif"):
        made.save(tmp_path / name)
        (tmp_path / name).rename(tmp_path / name.upper())
    monkeypatch.setattr(fvd.FrechetVideoDistance, "__call__", lambda self, ours, real: float(len(list(real))))
    jobs = [SimpleNamespace(state=DONE, frames=2)] * 3
    run: Any = SimpleNamespace(jobs=lambda: jobs, video=lambda job: made)
    told = fvd.FrechetVideoDistance.__new__(fvd.FrechetVideoDistance).of_run(run, str(tmp_path))
    assert told == {"mean": 2.0, "n": 3, "real": 2}


def test_measuring_and_the_studio_print_nothing_of_their_own(tmp_path, capfd):
    """Weights read by the libraries, a run made and scored, a job of the studio: Python calls, so nobody is told."""
    pytest.importorskip("gradio", reason="the studio's extra is not installed")
    from animatic.benchmarks.clip import ClipMetrics
    from animatic.studio.job_request import JobRequest
    from animatic.studio.work import Studio

    clip = str(tiny.clip(tmp_path / "clip"))
    capfd.readouterr()
    assert "clip text" in ClipMetrics(clip)(tiny.torch.zeros(2, 64, 64, 3, dtype=tiny.torch.uint8).numpy(), "a cat")
    few = replace(LVD, cases=lambda: LVD.cases()[:1])
    settings = replace(settings_of(few, "lvd", "mini", "none", "rules", steps=1, frames=2), prompt_only=True)
    run = prepare(tmp_path / "run", few, settings)
    work(run, RunPart(), maker=JobRenderer(settings))
    studio = Studio(tmp_path / "studio", models=("mini",))
    job = studio.submit("render", JobRequest(request_of((CAT,), "mini", "lvd", 0, steps=1, frames=2)).to_dict())
    while studio.status(job.id)["state"] not in ("done", "failed"):
        time.sleep(0.02)
    studio.close()
    assert capfd.readouterr() == ("", "")


# ---- messages stay short, whatever they quote

LONG = "x" * 100_000


def huge_benchmark(folder):
    (folder / "b.py").write_text("BENCHMARK = list(range(100_000))")
    benchmark_named(str(folder / "b.py"))


def many_classes(folder):
    Labels([f"class {i}" for i in range(10_000)], 4)(["another"])


def many_words(folder):
    model = load("mini")
    model.words = tuple(f"word{i}" for i in range(10_000))
    model.check_scene(Scene("a zebra", (Track("zebra", ((0, 0, 1, 1),)),)))


FLOODS = {
    "scenes": lambda folder: parse_story({"scenes": {"a": LONG}}),
    "version": lambda folder: parse_story({"prompt": "a", "version": LONG}),
    "field": lambda folder: parse_story({"prompt": "a", LONG: 1}),
    "frames": lambda folder: read("".join(f"Frame {i}: []\n" for i in range(50_000)) + "Background keyword: forest"),
    "benchmark": huge_benchmark,
    "classes": many_classes,
    "words": many_words,
    "method": lambda folder: bind(request_of((CAT,), "mini", LONG, 0), load("mini")),
    "model": lambda folder: render(CAT, "y" * 250, "lvd"),
    "detector": lambda folder: detector_named(LONG),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_message_stays_short(name, tmp_path):
    with pytest.raises(AnimaticError) as error:
        FLOODS[name](tmp_path)
    said = str(error.value)
    assert 20 < len(said) < MOST + 10 and "\n" not in said


def test_lists_and_messages():
    assert listed("abc") == "a, b, c" and listed(range(5), most=2) == "0, 1 and 3 more"
    assert str(AnimaticError("a" * MOST)) == "a" * MOST
    cut = str(AnimaticError("begin" + LONG + "want an end"))
    assert cut.startswith("begin") and cut.endswith("want an end") and " … " in cut


def test_a_story_file_has_no_other_fields():
    with pytest.raises(AnimaticError, match="unknown field 'seconds' next to scenes"):
        parse_story({"scenes": [{"prompt": "a bear"}], "seconds": 9})
    assert len(parse_story({"version": 1, "scenes": [{"prompt": "a bear"}]})) == 1
