"""Kills work at every change that it makes on the disk, and cuts its power.

crash_worker.py SUBJECT FOLDER RECORDER EVERY SAMPLES MOST_STATES SEED

Run with the recorder preloaded. What was imported and loaded is shared by all tries: each is a fork of this process.
It prints a JSON object: changes, tries by kind, and for each that lost something where and why.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from math import gcd
from pathlib import Path
from typing import Any

from crash_replay import lay_out, read_log, state_count, states
from crash_subjects import SUBJECTS, Subject


def forked(job: Callable[[], Any], log: Path) -> int:
    """The exit status of `job` in a fork of this process, whose output goes to `log`; -9 where it was killed."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        job()
        status = 0
    except BaseException:  # a fork must not return: it would go on with its parent's work
        traceback.print_exc()
    finally:
        os._exit(status)


def last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1][:300]


class Crashes:
    """Tries of one subject, in `folder`."""

    def __init__(self, subject: Subject, folder: Path, recorder: Path) -> None:
        self.subject, self.folder = subject, folder
        self.recorder = ctypes.CDLL(str(recorder))
        self.log, self.output = folder / "changes", folder / "output"
        self.lost: list[str] = []

    def recorded(self, place: Path, kill_at: int) -> int:
        """Work in `place` under the recorder, killed before its change number `kill_at`; 0 is never."""

        def job() -> None:
            self.recorder.recorder_arm(str(place).encode(), str(self.log).encode(), ctypes.c_long(kill_at))
            self.subject.work(place, lambda text: self.recorder.recorder_note(text.encode()))

        return forked(job, self.output)

    def start(self, name: str) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self.subject.begin(place)
        return place

    def go_on(self, place: Path, notes: Sequence[str], what: str) -> None:
        """What was reported is there; the work is taken up, and its end is that of work that was never cut."""

        def job() -> None:
            self.subject.check(place, notes)
            self.subject.work(place, lambda text: None)
            self.subject.check(place, notes)
            self.subject.compare(self.folder / "whole", place)

        began = time.monotonic()
        if forked(job, self.output):
            self.lost.append(f"{what}: {last_line(self.output)}")

        # a run that is cut short says how far it came
        print(f"{what}: {time.monotonic() - began:.1f} s, {len(self.lost)} lost so far", file=sys.stderr, flush=True)

    def begin_warm(self) -> None:
        self.subject.work(self.start("warm"), lambda text: None)
        others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        assert not others, f"a fork would be without the threads {others}"

    def run(self, every: int, samples: int, most_states: int, seed: int) -> dict[str, Any]:
        # done once in this process: what the work imports and makes ready, seconds of it, every fork then has
        self.begin_warm()
        whole = self.start("whole")
        assert self.recorded(whole, 0) == 0, self.output.read_text()
        changes = read_log(self.log)
        count = sum(change.kind != "n" for change in changes)

        # killed before each change
        killed = 0
        for at in range(1 + seed % every, count + 1, every):
            place = self.start("killed")
            status = self.recorded(place, at)
            if status == 0:
                continue  # this time it made fewer changes
            assert status == -signal.SIGKILL, self.output.read_text()
            killed += 1
            notes = [change.path for change in read_log(self.log) if change.kind == "n"]
            self.go_on(place, notes, f"killed at change {at} of {count}")

        # without power at each change
        begun = self.start("begun")
        count_all = state_count(changes, samples)
        step = max(1, -(-count_all // most_states))
        while gcd(step, 4 + samples) > 1:  # else the same ones of the kinds of states would be drawn at every change
            step += 1
        cuts = 0
        for at, notes, state in states(begun, str(whole), changes, seed, samples, step):
            cuts += 1
            place = self.folder / "cut"
            shutil.rmtree(place, ignore_errors=True)
            lay_out(state, place)
            self.go_on(place, notes, f"power cut after change {at} of {len(changes)}")
        return {
            "subject": self.subject.name, "changes": count, "killed": killed, "states": count_all, "cuts": cuts,
            "lost": self.lost,
        }  # fmt: skip


def main(name: str, folder: str, recorder: str, every: str, samples: str, most_states: str, seed: str) -> None:
    subject = SUBJECTS[name]()
    os.environ.pop("LD_PRELOAD", None)  # FFmpeg and others that are begun need no recorder
    crashes = Crashes(subject, Path(folder).resolve(), Path(recorder))
    print(json.dumps(crashes.run(int(every), int(samples), int(most_states), int(seed))))


if __name__ == "__main__":
    main(*sys.argv[1:])
