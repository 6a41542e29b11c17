"""The database of a run: a table with a row for each job, and its versions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ..errors import AnimaticError
from ..scene import parse_story
from .jobs import Job

VERSION = 2  # of the table; 1, which is written as 0, has no digests
QUOTED = 200  # letters of SQLite's messages, which may hold a whole plan

_TABLE = f"""create table jobs (
  number integer primary key, place integer not null unique, task text not null, prompt text not null,
  names text not null, seed integer not null, plan text, state text not null, owner text, reason text not null,
  seconds real, file text, frames integer, height integer, width integer, digest text not null default '');
pragma user_version = {VERSION};"""
_UPGRADE = f"""alter table jobs add column digest text not null default '';
pragma user_version = {VERSION};"""


def create(path: Path, jobs: Sequence[Job]) -> None:
    """Write the table with all jobs to be done, completely or not at all."""
    rows = []
    for job in jobs:
        names = json.dumps(job.names)
        rows.append((job.number, job.place, job.task, job.prompt, names, job.seed))
    with reading(path) as base:
        base.executescript(f"begin immediate; {_TABLE}")
        base.executemany(
            "insert into jobs values (?, ?, ?, ?, ?, ?, null, 'todo', null, '', null, '', 0, 0, 0, '')", rows
        )
        base.execute("commit")


def upgrade(path: Path) -> None:
    """Give the database of an earlier version the present columns."""
    with reading(path) as base:
        (version,) = base.execute("pragma user_version").fetchone()
        if version < VERSION:
            base.executescript(f"begin immediate; {_UPGRADE} commit;")


def job_of(row: sqlite3.Row) -> Job:
    """The job in a row. Raises `AnimaticError` where it is damaged."""
    fields = dict(row)
    del fields["owner"]
    try:
        # Names and plan are JSON in the table.
        fields["names"] = tuple(json.loads(row["names"]))
        fields["plan"] = None
        if row["plan"]:
            data = json.loads(row["plan"])
            story = parse_story(data, f"plan of job {row['number']}")
            fields["plan"] = story[0] if len(story) == 1 else story
        return Job(**fields)
    except (TypeError, ValueError, RecursionError) as error:
        wanted = "the row as the run wrote it, from a copy of the file, or another folder"
        raise AnimaticError(f"jobs.sqlite: job {row['number']} cannot be read ({error}); want {wanted}") from None


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that is closed, and rolled back, at the end; errors become one `AnimaticError`."""
    try:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as base:  # rolls back what is open
            base.row_factory = sqlite3.Row

            # A commit is on the disk when it returns: without this a power cut may bring its journal back and undo it.
            base.execute("pragma synchronous = extra")
            (version,) = base.execute("pragma user_version").fetchone()
            if version > VERSION:
                raise AnimaticError(f"{path}: is of version {version}; this program reads up to {VERSION}")
            yield base
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the second: SQLite's own messages quote the file
        reason = " ".join(str(error).split())
        raise AnimaticError(f"{path}: cannot be used ({reason[:QUOTED]})") from None


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in one transaction, which holds the write lock from the beginning."""
    with reading(path) as base:
        # The write lock is taken at once: two claims of one batch cannot cross.
        base.execute("begin immediate")
        yield base
        base.execute("commit")
