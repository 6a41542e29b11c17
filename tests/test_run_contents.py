"""What a run says is done is there and whole, of one model and one benchmark; and a run's folder runs no code."""

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Altered

import animatic
from animatic import files
from animatic.benchmarks.contents import contents, digest_of_folder
from animatic.benchmarks.generate import RunPart, prepare, settings_of, work
from animatic.benchmarks.jobs import DONE, TODO
from animatic.benchmarks.registry import BENCHMARKS, benchmark_named
from animatic.benchmarks.run_store import Run
from animatic.benchmarks.scoring import ScoringSettings, score
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.files import replacing
from animatic.toy.evals.ceiling import ToyRenderer

LVD = BENCHMARKS["lvd"]
SETTINGS = settings_of(LVD, "lvd", "mini", "none", "rules")
FOUR = RunPart(4)

OWN = """
from pathlib import Path
from animatic.benchmarks.cases import Benchmark, Case
Path("was-run").touch()
def holds(layout, rules):
    return {answer}
BENCHMARK = Benchmark("own", lambda: [Case("task", "A ball on the grass", holds, queries=("ball",))], frames=2)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Four finished jobs of LVD's benchmark, which plans hundreds."""
    made = prepare(tmp_path_factory.mktemp("finished") / "run", LVD, SETTINGS)
    work(made, FOUR, maker=ToyRenderer())
    return made.folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of them."""
    return Run(shutil.copytree(finished, tmp_path / "run"))


def done(run):
    return [job for job in run.jobs() if job.state == DONE]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 16
    path.write_bytes(data)


def test_a_name_comes_after_its_bytes(tmp_path, monkeypatch):
    """The order of the calls: the file's content, its name, the folder's names; a power cut falls between any two."""
    calls = []
    names = {}  # file handle -> what it is of

    def opened(path, *rest, **more):
        handle = os.open(path, *rest, **more)
        names[handle] = Path(path)
        return handle

    def synced(handle):
        calls.append(("sync", names[handle]))

    def named(source, target):
        calls.append(("name", Path(target)))
        os.replace(source, target)

    monkeypatch.setattr(files, "os", Altered(os, open=opened, fsync=synced, replace=named))
    final = tmp_path / "new" / "made.mp4"
    with replacing(final) as temporary:
        temporary.write_bytes(b"frames")
    assert calls == [("sync", tmp_path), ("sync", temporary), ("name", final), ("sync", final.parent)]


def test_a_row_says_done_after_its_file_is_on_the_disk(tmp_path, monkeypatch):
    run = prepare(tmp_path / "run", LVD, SETTINGS)
    seen = []

    def named(source, target):
        if Path(target).parent.name == "made":
            seen.append((Path(target).name, Run(run.folder).states().get(DONE, 0)))
        os.replace(source, target)

    monkeypatch.setattr(files, "os", Altered(os, replace=named))
    work(run, RunPart(2), maker=ToyRenderer())
    names = [name for name, _ in seen]
    assert sorted(count for name, count in seen if name.endswith(".mp4")) == [0, 1]
    assert len(names) == 4 and len(done(run)) == 2


@pytest.mark.parametrize("damage", ["a bit", "empty", "another job's", "gone"])
def test_what_is_not_as_it_was_made_is_made_again(run, damage):
    """One bit of 96 was noticed in two cases before; a job charged with another's video never."""
    first, second = done(run)[:2]
    file = run.path(first)
    whole = file.read_bytes()
    match damage:
        case "a bit":
            flip(file)
        case "empty":
            file.write_bytes(b"")
        case "another job's":
            shutil.copy(run.path(second), file)
        case "gone":
            file.unlink()

    # it does not count as what the method made
    message = "is missing" if damage == "gone" else "is not what was made"
    with pytest.raises(AnimaticError, match=message):
        run.video(first)
    result = score(run.folder, ScoringSettings())[first.number]
    assert result.passed is False and message in result.reason

    # nothing else is made again
    kept = {job.number for job in done(run)} - {first.number}
    again = prepare(run.folder, LVD, SETTINGS)
    assert {job.number for job in done(again)} == kept
    assert again.states() == {DONE: 3, TODO: len(LVD.cases()) - 3}
    work(again, FOUR, maker=ToyRenderer())
    assert file.read_bytes() == whole and len(done(again)) == 4


@pytest.mark.parametrize("name", ["../other/made/00000.mp4", "/etc/passwd", "made/../x.mp4", "made/", "manifest.json"])
def test_a_row_names_no_file_elsewhere(run, name):
    base = sqlite3.connect(run.base)
    base.execute("update jobs set file = ? where state = 'done'", (name,))
    base.commit()
    with pytest.raises(AnimaticError, match=r"names the file .* want one in made/"):
        run.video(done(run)[0])
    with pytest.raises(AnimaticError, match=r"names the file .* want one in made/"):
        prepare(run.folder, LVD, SETTINGS)


def test_a_run_of_before_has_no_digests_and_goes_on(run):
    base = sqlite3.connect(run.base)
    base.executescript("alter table jobs drop column digest; pragma user_version = 0;")
    base.close()
    assert len(score(run.folder, ScoringSettings())) == len(LVD.cases())
    again = prepare(run.folder, LVD, SETTINGS)
    work(again, RunPart(5), maker=ToyRenderer())
    assert [bool(job.digest) for job in done(again)].count(True) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pragma user_version = 9", "is of version 9; this program reads up to 2"),
        ("alter table jobs add column colour text default 'red'", "cannot be read .*colour"),
        ("update jobs set plan = '{'", "cannot be read"),
        ("update jobs set names = '[' ", "cannot be read"),
        ("update jobs set plan = '" + "[" * 100_000 + "'", "cannot be read"),
    ],
)
def test_a_database_of_others_is_one_line(run, change, message):
    base = sqlite3.connect(run.base)
    base.execute(change)
    base.commit()
    with pytest.raises(AnimaticError, match=message):
        run.jobs()


def test_a_damaged_row_leaves_the_database_free(run):
    """Its error may be kept, as a debugger or a notebook does: the query that it interrupted held a lock as long."""
    base = sqlite3.connect(run.base, timeout=0)
    base.execute("update jobs set names = '{' where number = 0")
    base.commit()
    with pytest.raises(AnimaticError, match="job 0 cannot be read") as kept:
        run.jobs()
    base.execute("update jobs set names = '[]' where number = 0")
    base.commit()
    base.close()
    assert kept.value.__traceback__ and run.jobs()[0].names == ()


def test_a_run_is_of_one_model_and_one_lora(tmp_path):
    """Another model in the same folder was resumed without a word before."""
    shutil.copytree(Path(animatic.__file__).parent / "weights" / "mini", tmp_path / "m")
    settings = settings_of(LVD, "lvd", str(tmp_path / "m"), "none", "rules")
    folder = tmp_path / "run"
    prepare(folder, LVD, settings)
    before = digest_of_folder(tmp_path / "m")
    assert contents(settings)["weights"] == before

    prepare(folder, LVD, settings)
    flip(next((tmp_path / "m" / "unet").glob("*.safetensors")))
    assert digest_of_folder(tmp_path / "m") != before
    with pytest.raises(AnimaticError, match=rf"was begun otherwise: weights was '{before}', now "):
        prepare(folder, LVD, settings)

    # the same of a LoRA's file
    lora = tmp_path / "l.safetensors"
    lora.write_bytes(b"one")
    request = replace(SETTINGS.request, loras=((str(lora), 1.0, ""),))
    with_lora = replace(SETTINGS, request=request)
    other = tmp_path / "other"
    prepare(other, LVD, with_lora)
    lora.write_bytes(b"two")
    with pytest.raises(AnimaticError, match="was begun otherwise: lora 1 was"):
        prepare(other, LVD, with_lora)


def test_large_files_are_sampled(tmp_path, monkeypatch):
    from animatic.benchmarks import contents as module

    monkeypatch.setattr(module, "LARGE", 1000)
    monkeypatch.setattr(module, "SAMPLE", 10)
    file = tmp_path / "w" / "weights.bin"
    file.parent.mkdir()
    file.write_bytes(bytes(range(250)) * 40)
    before = digest_of_folder(file.parent)
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    assert digest_of_folder(file.parent) != before


def test_a_runs_folder_runs_no_code(here, tmp_path):
    Path("own.py").write_text(OWN.format(answer=True))
    for name in ("own.py", "own.py:task"):
        benchmark = benchmark_named(name)
        settings = settings_of(benchmark, name, "mini", "none", "rules")
        run = prepare(tmp_path / f"run-{len(name)}", benchmark, settings)
        work(run, RunPart(), maker=ToyRenderer())
        Path("was-run").unlink()
        code, _, error = here("bench", "score", str(run.folder), "--workers", "1")
        assert code == 2 and f"{name!r}, which would be run; want --benchmark FILE.py if so" in error
        assert not Path("was-run").exists()

        # named on the command line it is run
        assert here("bench", "score", str(run.folder), "--benchmark", name, "--workers", "1")[0] == 0
        assert Path("was-run").exists()

    # other predicates are said, and a run that goes on is of the same ones
    Path("own.py").write_text(OWN.format(answer=False))
    with pytest.warns(AnimaticWarning, match="own.py: has changed since the run began"):
        score(run.folder, ScoringSettings(benchmark="own.py:task"))
    with pytest.raises(AnimaticError, match="was begun otherwise: benchmark file was"):
        prepare(run.folder, benchmark_named(name), run.settings)


def test_what_a_killed_process_left_is_swept(run):
    stray = run.folder / "made" / ".00000.mp4.1a2b3c4d.mp4"
    stray.write_bytes(b"half")
    (run.folder / "owners" / "dead").touch()
    prepare(run.folder, LVD, SETTINGS)
    assert not stray.exists() and os.listdir(run.folder / "owners") == []


def test_a_stray_of_a_living_process_stays(run):
    stray = run.folder / "made" / ".00000.mp4.1a2b3c4d.mp4"
    stray.write_bytes(b"half")
    with run.working():
        prepare(run.folder, LVD, SETTINGS)
        assert stray.exists()


def test_files_have_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with replacing(tmp_path / "private") as file:
            file.write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
