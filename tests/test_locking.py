"""Locks between real processes: waited for, and free again however their owner ends."""

import ast
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import animatic
from animatic.errors import AnimaticError
from animatic.locking import is_held, locked
from animatic.planning.cache import Cache, Entry, Key

HOLDER = """
import sys, time
from pathlib import Path
from animatic.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

# the command line, where neither fcntl nor resource exists, as on Windows
ELSEWHERE = """
import sys
import psutil  # its Linux half asks for resource itself
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
import animatic.cli, animatic.benchmarks.ray_workers, animatic.benchmarks.run_store
import animatic.benchmarks.generate, animatic.planning.cache
"""


def holder(path):
    """A process that holds a lock, and has said so."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_lock_is_free_when_its_owner_is_killed(end, tmp_path):
    path = tmp_path / "owners" / "a"
    assert not is_held(path) and not path.exists()  # asking makes nothing
    process = holder(path)
    try:
        assert is_held(path) and is_held(path)
    finally:
        getattr(process, end)()
        process.wait()
    assert not is_held(path) and not is_held(path)
    with locked(path):
        assert is_held(path)


def test_a_lock_is_waited_for(tmp_path):
    path, got = tmp_path / "a", []

    def wait():
        with locked(path):
            got.append(time.monotonic())

    process = holder(path)
    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    assert not got
    killed = time.monotonic()
    process.kill()
    process.wait()
    thread.join(10)
    assert got and got[0] >= killed


def test_the_lock_is_let_go_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "a"):
        raise KeyError
    assert not is_held(tmp_path / "a")


def test_a_place_that_takes_no_lock_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AnimaticError, match="cannot be locked") as error, locked(tmp_path / "file" / "a"):
        pass
    assert "\n" not in str(error.value)


def test_writers_of_one_cache_lose_nothing(tmp_path):
    """Two caches on one file, from many threads: every line is whole."""
    path = tmp_path / "replies.jsonl"
    caches = [Cache(path), Cache(path)]

    def put(i: int) -> None:
        caches[i % 2].put(Entry(Key(f"prompt {i}", "openai", "m", "t", "s"), "x" * 20_000))

    threads = [threading.Thread(target=put, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Cache(path).entries) == 24 and path.read_bytes().count(b"\n") == 24


def test_the_command_line_needs_no_posix_module():
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:animatic", "-c", ELSEWHERE], check=True)


def test_no_module_needs_posix_to_be_imported():
    posix = {"fcntl", "pwd", "grp", "termios", "resource", "pty", "posix"} & set(sys.stdlib_module_names)
    found = []
    for file in Path(animatic.__file__).parent.rglob("*.py"):
        for node in ast.parse(file.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found += [f"{file.name}: {name}" for name in names if name in posix]
    assert not found
