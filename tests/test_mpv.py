"""Stories as a benchmark: the prompts, and a run that is made and scored."""

from collections import Counter

import pytest
import tiny

from animatic.benchmarks.generate import RunPart, prepare, settings_of, work
from animatic.benchmarks.jobs import scenes_of
from animatic.benchmarks.mpv import cases
from animatic.benchmarks.registry import benchmark_named
from animatic.benchmarks.results import summarise
from animatic.benchmarks.scoring import ScoringSettings, score
from animatic.cli import main
from animatic.toy.world import identify


def test_the_prompts():
    made = cases()
    assert len(made) == 130 and set(Counter(case.task for case in made).values()) == {13}
    assert len({case.prompt for case in made}) == 130
    for case in made:
        prompts = case.prompt.split(" | ")
        assert 2 <= len(prompts) <= 3 and len(set(prompts)) == len(prompts) and "{" not in case.prompt
    known = [case for case in made if len(case.queries[0].split()) == 1]
    assert len(known) == 50 and all(identify(prompt) for case in known for prompt in case.prompt.split(" | "))


def test_a_run_is_made_and_scored(tmp_path):
    model = tiny.folder(tmp_path / "model", tiny.unet3d())
    mpv = benchmark_named("mpv")
    settings = settings_of(mpv, "mpv", str(model), "ditctrl:chained", "rules", steps=1, size=(16, 16))
    run = prepare(tmp_path / "run", benchmark_named("mpv"), settings)
    assert all(len(scenes_of(job.plan or ())) == job.prompt.count("|") + 1 for job in run.jobs())
    work(run, RunPart(limit=1))
    done = [job for job in run.jobs() if job.state == "done"]
    assert len(done) == 1
    for job in done:
        assert len(run.video(job).frames) == 16 * len(scenes_of(job.plan or ()))
    told = ScoringSettings(metrics=("clip",), clip=str(tiny.clip(tmp_path / "clip")))
    verdicts = score(tmp_path / "run", told)
    found = summarise(verdicts)
    assert found.unmade == 129 and found.overall.total == 0
    assert found.means["cscv"][1] == found.means["clip text"][1] == 1


def test_plans_have_nothing_to_be_judged_by(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "plan", "mpv"])
    assert "has no predicates on plans" in capsys.readouterr().err
