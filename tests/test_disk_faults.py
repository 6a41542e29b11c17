"""Disks and clocks that go wrong: a clock set back, a folder that cannot be written, a bit that turned over, files of a
newer version. Each is one line that names the file, and nothing else is touched."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from animatic import Scene, Track, Video, files, load
from animatic.benchmarks.generate import RunPart, prepare, settings_of, work
from animatic.benchmarks.registry import BENCHMARKS
from animatic.benchmarks.run_store import Run
from animatic.benchmarks.scoring import ScoringSettings, read_score, score
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.files import digest_of
from animatic.locking import hold, locked
from animatic.media import encoding
from animatic.rendering import request_of
from animatic.request_files import read_request
from animatic.scene import load_story, save_story
from animatic.studio import log as log_module
from animatic.studio.job_request import JobRequest
from animatic.studio.log import Log
from animatic.toy.evals.ceiling import ToyRenderer
from animatic.training.clips import Cut
from animatic.training.latent_cache import LatentCache
from animatic.training.sources import Item

SEED = 20
BEAR = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
REQUEST = request_of((BEAR,), "mini", "none", 0, steps=1, frames=1)
LVD = BENCHMARKS["lvd"]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def turned(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one bit turned over."""
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


# ---- clocks


class EarlierEachTime(datetime):
    """A clock that is set back an hour whenever it is read."""

    hours = 24

    @classmethod
    def now(cls, tz=None) -> datetime:
        cls.hours -= 1
        return datetime(2026, 1, 1, cls.hours, tzinfo=tz)


def test_a_clock_set_back_changes_no_order(tmp_path, monkeypatch):
    """The queue is done in the order of the log, now and after a restart."""
    monkeypatch.setattr(log_module, "datetime", EarlierEachTime)
    log = Log(tmp_path)
    asked = [log.add("render", JobRequest(REQUEST).to_dict()).id for _ in range(3)]
    assert asked == sorted(asked, reverse=True)  # the clock did go back
    for opened in (log, Log(tmp_path)):
        assert [record.id for record in opened.all()] == asked
    last = Log(tmp_path).add("render", JobRequest(REQUEST).to_dict())
    assert [record.id for record in Log(tmp_path).all()] == [*asked, last.id]


def test_a_gallery_without_numbers_stays_in_its_order(tmp_path):
    log = Log(tmp_path)
    names = [log.add("render", JobRequest(REQUEST).to_dict()).id for _ in range(3)]
    for name in names:
        file = tmp_path / name / "record.json"
        data = json.loads(file.read_text())
        del data["number"]
        file.write_text(json.dumps(data))
    opened = Log(tmp_path)
    assert [record.id for record in opened.all()] == names
    assert opened.add("render", JobRequest(REQUEST).to_dict()).number == 1


# ---- folders that cannot be written

COMMANDS = {
    "render": ["render", "{0}/scene.json", "--method", "none", "--steps", "1", "--frames", "1", "-o", "{0}/made.mkv"],
    "bench generate": ["bench", "generate", "lvd", "--method", "none", "--model", "mini", "-o", "{0}/new"],
    "bench generate, begun": ["bench", "generate", "lvd", "--method", "none", "--model", "mini", "-o", "{0}/run"],
    "bench score": ["bench", "score", "{0}/run"],
    "train": ["train", "--data", "toy", "--steps", "1", "--frames", "2", "--size", "16", "-o", "{0}/trained"],
    "finish": ["finish", "{0}/clip.mkv", "--then", "lanczos:2", "-o", "{0}/finished.mkv"],
    "studio": ["studio", "--out", "{0}/studio", "--port", "47113"],
}
TRY = """
import contextlib, io, json, sys
from animatic.cli import main
ends = {}
for name, command in json.loads(sys.argv[1]).items():
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(command)
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException as error:
            code = repr(error)
    ends[name] = [code, said.getvalue()]
print(json.dumps(ends))
"""


def run_folder(folder: Path) -> Run:
    """A run of LVD's benchmark with two finished jobs."""
    run = prepare(folder, LVD, settings_of(LVD, "lvd", "mini", "none", "rules"))
    work(run, RunPart(2), maker=ToyRenderer())
    return run


@pytest.mark.slow("six commands, each to where it writes")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    save_story((BEAR,), folder / "scene.json")
    Video(np.zeros((2, 32, 32, 3), np.uint8)).save(folder / "clip.mkv")
    run_folder(folder / "run")
    before = tree(folder)

    commands = {name: [word.format(folder) for word in command] for name, command in COMMANDS.items()}
    tries = [sys.executable, "-c", TRY, json.dumps(commands)]
    if os.geteuid():
        for path in [folder, *folder.rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o222)
    else:
        # what root writes only a mount keeps
        unshare = shutil.which("unshare")
        if not unshare or subprocess.run([unshare, "-m", "true"], check=False).returncode:
            pytest.skip("root may write anywhere, and may mount nothing here")
        mount = f'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec "$@"'
        tries = [unshare, "-m", "sh", "-c", mount, "sh", *tries]
    done = subprocess.run(tries, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    bad = []
    for name, (code, said) in json.loads(done.stdout.splitlines()[-1]).items():
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        is_one_line = len(errors) == 1 and str(folder) in errors[0] and "Traceback" not in said
        if code != 2 or not is_one_line:
            bad.append(f"{name}: {code}, {said}")
    assert not bad, "\n".join(bad)
    assert tree(folder) == before


# ---- killed, or without power, while a run begins


def test_a_run_that_was_killed_before_its_manifest_had_its_name_is_begun_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".manifest.json.f84979c3.json").write_text("{")
    assert run_folder(folder).states()["done"] == 2
    assert not list(folder.glob(".manifest*"))


@pytest.mark.parametrize("take", [locked, lambda path: nullcontext(hold(path, "another").release())])
def test_a_folder_made_for_a_lock_outlasts_a_power_cut(take, tmp_path, monkeypatch):
    """Its own name was never synced: with it went everything that was reported of a run or a studio in it."""
    synced = []
    monkeypatch.setattr(files, "sync", synced.append)
    with take(tmp_path / "a" / "b" / ".lock"):
        assert set(synced) == {tmp_path, tmp_path / "a"}


# ---- a bit that turned over


@dataclass(frozen=True)
class Kind:
    """A kind of file: written in a folder, and read again. `noticed`: a digest tells every changed bit.

    Where it does not, a changed file may be a good one of another content (a digit of a scene).
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    noticed: bool


def story_file(folder: Path) -> Path:
    save_story((BEAR,), folder / "scene.json")
    return folder / "scene.json"


def request_file(folder: Path) -> Path:
    (folder / "request.json").write_text(json.dumps(REQUEST.to_dict()))
    return folder / "request.json"


def video_file(suffix: str) -> Callable[[Path], Path]:
    frames = np.random.default_rng(0).integers(0, 255, (3, 6, 6, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    return lambda folder: Video(frames, 4.0, {"prompt": "a bear"}).save(folder / f"clip{suffix}", scale=1)


def record_file(folder: Path) -> Path:
    log = Log(folder)
    return folder / log.add("render", JobRequest(REQUEST).to_dict()).id / "record.json"


def jobs_of(base: Path) -> object:
    run = Run(base.parent)
    return [run.video(job) for job in run.jobs() if job.state == "done"]


def score_file(folder: Path) -> Path:
    run = run_folder(folder)
    score(run.folder, ScoringSettings())
    return folder / "score.json"


SUFFIXES = (".mkv", ".npz", ".mp4", ".gif", ".png", ".webp")
KINDS = {
    "scene": Kind(story_file, load_story, False),
    "request": Kind(request_file, read_request, False),
    **{
        suffix: Kind(video_file(suffix), Video.load, False)
        for suffix in (".mkv", ".npz", ".mp4", ".gif", ".png", ".webp")
    },
    "manifest of a run": Kind(
        lambda folder: run_folder(folder).folder / "manifest.json", lambda file: Run(file.parent), False
    ),
    "rows of a run": Kind(lambda folder: run_folder(folder).base, jobs_of, False),
    "video of a run": Kind(
        lambda folder: run_folder(folder).folder / "made" / "00000.mp4", lambda file: jobs_of(file.parent), True
    ),
    "score": Kind(score_file, lambda file: read_score(file.parent), False),
    "record of a studio": Kind(record_file, lambda file: Log(file.parents[1]).all(), False),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_bit_that_turned_over_is_read_or_one_line(name, tmp_path):
    """It names the file, and neither it nor another file of the folder is changed."""
    kind = KINDS[name]
    file = kind.write(tmp_path)
    whole, rng = file.read_bytes(), random.Random(SEED)
    said = 0
    for _ in range(25):
        file.write_bytes(turned(whole, rng))
        before = tree(tmp_path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                read = kind.read(file)
                messages = [str(warning.message) for warning in caught if warning.category is AnimaticWarning]
                messages += [read.info["damage"]] if isinstance(read, Video) and "damage" in read.info else []
            except AnimaticError as error:
                messages = [str(error)]
        assert not [text for text in messages if "\n" in text or file.name not in text], messages
        assert tree(tmp_path) == before
        said += bool(messages)
    assert said == 25 if kind.noticed else said, f"{said} of 25"


@pytest.mark.parametrize("suffix", [".mkv", ".npz"])
def test_a_video_without_loss_is_never_another_without_a_word(suffix, tmp_path):
    """FFmpeg decoded three of four damaged FFV1 files to other pixels, and wrote so to its own log alone."""
    file = video_file(suffix)(tmp_path)
    whole, rng, frames = file.read_bytes(), random.Random(SEED), Video.load(file).frames
    assert "damage" not in Video.load(file).info
    named = 0
    for _ in range(60):
        file.write_bytes(turned(whole, rng))
        try:
            video = Video.load(file)
        except AnimaticError:
            named += 1
            continue
        is_named = "damage" in video.info
        assert is_named or np.array_equal(video.frames, frames)
        named += is_named
    assert named > 30


def test_ffv1_of_other_programs_is_not_taken_for_damaged(tmp_path, monkeypatch):
    """Without checksums, of the first version, or in a few slices."""
    for options in ({"level": "3", "slicecrc": "0"}, {"level": "1"}, {"level": "3", "slices": "4"}):
        monkeypatch.setitem(encoding.CODECS, ".mkv", ("ffv1", "bgr0", options))
        assert "damage" not in Video.load(video_file(".mkv")(tmp_path)).info


def test_a_damaged_latent_of_the_cache_is_encoded_again(tmp_path):
    """The format of its files notices no changed bit: it was trained on without a word before."""
    frames = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), np.uint8)
    clip = Video(frames).save(tmp_path / "clip.mkv")
    content = digest_of(clip)
    item = Item(clip.name, "a bear", lambda: Video.load(clip), lambda: content, content=content)
    cache = LatentCache(tmp_path / "cache", load("mini"))
    cut, rng = Cut(2, 16, 16, steady=True), random.Random(SEED)
    wanted = cache(item, cut, rng).frames
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    for _ in range(10):
        file.write_bytes(turned(whole, rng))
        with pytest.warns(AnimaticWarning, match=f"{file.name}: is damaged .*; its clip is encoded again"):
            found = cache(item, cut, rng).frames
        assert np.allclose(found, wanted, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.allclose(cache(item, cut, rng).frames, wanted, atol=1e-4)


# ---- files of a newer version


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (story_file, load_story),
        (request_file, read_request),
        (lambda folder: run_folder(folder).folder / "manifest.json", lambda file: Run(file.parent)),
        (score_file, lambda file: read_score(file.parent)),
    ],
    ids=["scene", "request", "manifest", "score"],
)
def test_a_file_of_a_newer_version_is_one_line(write, read, tmp_path):
    file = write(tmp_path)
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "version": 9}))
    before = tree(tmp_path)
    with pytest.raises(AnimaticError, match=rf"{file.name}: .*version (is )?9; this program reads"):
        read(file)
    assert tree(tmp_path) == before


def test_a_run_with_a_newer_database_is_left_as_it_is(tmp_path):
    run = run_folder(tmp_path / "run")
    base = sqlite3.connect(run.base)
    base.execute("pragma user_version = 9")
    base.close()
    before = tree(tmp_path)
    for use in (lambda: prepare(run.folder, LVD, run.settings), lambda: score(run.folder, ScoringSettings())):
        with pytest.raises(AnimaticError, match=r"jobs\.sqlite: is of version 9; this program reads up to 2"):
            use()
    assert tree(tmp_path) == before


def test_a_studios_job_of_a_newer_version_is_left_as_it_is(tmp_path):
    file = record_file(tmp_path)
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "version": 9}))
    before = tree(tmp_path)
    with pytest.warns(AnimaticWarning, match=r"record\.json: is of version 9; this program reads version 1"):
        assert not Log(tmp_path).all()
    assert tree(tmp_path) == before
