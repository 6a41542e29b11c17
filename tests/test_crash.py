"""Killed before a change on the disk, or without power after it: what was reported is there, the end is the same."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from crash_replay import Change, after, on_disk, states

TESTS = Path(__file__).parent
SEED = 20  # of the drawn states


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    compiler = shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("the recorder wants Linux and a C compiler")
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    source = TESTS / "crash" / "recorder.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


@pytest.mark.sweep("each try makes the rest of the work again")
@pytest.mark.parametrize("subject", ["bench generate", "train", "finish", "studio"])
def test_killed_or_without_power_at_any_change(subject, recorder, tmp_path):
    """`ANIMATIC_CRASH=1,3,100000` is every change and every state, `every,samples,states`; a part of them without."""
    every, samples, most = os.environ.get("ANIMATIC_CRASH", "15,1,16").split(",")
    arguments = [subject, str(tmp_path), str(recorder), every, samples, most, str(SEED)]
    environment = {
        **os.environ, "LD_PRELOAD": str(recorder), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
    }  # fmt: skip
    process = subprocess.run(
        [sys.executable, str(TESTS / "crash_worker.py"), *arguments], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout.splitlines()[-1])
    print({key: value for key, value in result.items() if key != "lost"}, len(result["lost"]))
    assert result["killed"] and result["cuts"] and not result["lost"], "\n".join(result["lost"])


def recorded(*changes: tuple) -> list[Change]:
    return [Change(kind, f"/x/{path}", f"/x/{target}", 0, data) for kind, path, target, data in changes]


def test_what_is_not_synced_can_be_lost(tmp_path):
    """A file written and renamed without a sync can be empty under its new name; with one it is the old or the new."""
    (tmp_path / "a").write_bytes(b"old")
    make = [("c", ".b", "", b""), ("w", ".b", "", b"new")]
    rename = [("r", ".b", "a", b"")]
    careless = {state["a"] for _, _, state in states(tmp_path, "/x", recorded(*make, *rename), SEED, 3)}
    assert careless >= {b"old", b"new", b""} or careless >= {b"old", b"", bytes(3)}
    careful = recorded(*make, ("s", ".b", "", b""), *rename)
    assert {state["a"] for _, _, state in states(tmp_path, "/x", careful, SEED, 3)} == {b"old", b"new"}


def test_a_name_is_sure_once_its_folder_is_synced(tmp_path):
    import random

    made = recorded(("m", "f", "", b""), ("c", "f/a", "", b""), ("w", "f/a", "", b"1"), ("s", "f/a", "", b""))
    draw = random.Random(SEED)
    assert on_disk(after(tmp_path, "/x", made), "none", "none", draw) == {}
    made += recorded(("s", "f", "", b""))
    assert on_disk(after(tmp_path, "/x", made), "none", "none", draw) == {}, "the folder has no name yet"
    made += [Change("s", "/x", "", 0, b"")]
    assert on_disk(after(tmp_path, "/x", made), "none", "none", draw) == {"f": None, "f/a": b"1"}
