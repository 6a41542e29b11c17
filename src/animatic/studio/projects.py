"""Projects: jobs with their requests, scenes and videos as one zip file, to be kept, or opened by another studio.

project.json            {"version": 1, "jobs": [record and marks of each job], "folders": {name: [job ...]}}
JOB/request.json        the request, as `animatic render` reads it
JOB/story.json, JOB/1-lvd.mp4 ...
images/DIGEST.png       images that videos begin with
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter

from ..errors import AnimaticError
from ..files import sync_tree
from ..media.reading import probe
from . import images
from .folders import Contents, Folders, contents_in
from .job_request import JobRequest, present_form
from .jobs import ACTIONS
from .log import CANCELLED, DONE, FACTS, FAILED, Log, Record, Refused
from .marks import Marked, Marks, of_json, to_json

INDEX = "project.json"
VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")  # of a job or a file: no folders, nothing hidden
SUFFIXES = (".mp4", ".gif", ".mkv", ".json")
SMALL = 8_000_000  # bytes of the index
BLOCK = 1 << 20  # bytes copied at once


def write_project(log: Log, marks: Marks, folders: Folders, names: Sequence[str], stream: IO[bytes]) -> None:
    """Write jobs into a zip file. Raises `Refused` where one of them has no videos."""
    jobs = []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:  # videos are compressed already
        for name in dict.fromkeys(names):
            record = log.get(name)
            if not record.files:
                raise Refused(f"job {name} is {record.state} and has no videos; want jobs that have")
            jobs.append({**asdict(record), "marks": to_json(marks.of(name))})
            request = JobRequest.of(record.request).generation
            archive.writestr(f"{name}/request.json", json.dumps(request.to_dict(), indent=1, ensure_ascii=False))
            for file in _files_of(record):
                archive.write(log.file(name, file), f"{name}/{file}")

            # one image may serve several jobs
            image = images.image_of(log.folder, request)
            if image and (member := f"{images.FOLDER}/{image.name}") not in archive.namelist():
                archive.write(image, member)
        kept = {folder: [job for job in inside if job in names] for folder, inside in folders.all().items()}
        index = {"version": VERSION, "jobs": jobs, "folders": {name: inside for name, inside in kept.items() if inside}}
        archive.writestr(INDEX, json.dumps(index, indent=1, ensure_ascii=False))


def read_project(
    stream: IO[bytes], log: Log, marks: Marks, folders: Folders, most: int, image_side: int, jobs: int
) -> list[Record]:
    """Add the jobs of a zip file to a log, with names of their own; returns their records. All of them or none.

    They are in the folders that they were in; one that is not there is made.

    Raises `Refused` where it is no project, holds more than `jobs` jobs or unpacks to more than `most` bytes, or has
    a file that is not what its name says.
    """
    with _opened(stream) as archive, tempfile.TemporaryDirectory(prefix=".import-", dir=log.folder) as temporary:
        if sum(member.file_size for member in archive.infolist()) > most:
            raise Refused(f"the project unpacks to more than {most / 1e6:g} MB, the most that may", 413)
        listed, kept = _index(archive, min(most, SMALL))
        if len(listed) > jobs:
            raise Refused(f"the project has {len(listed)} jobs; at most {jobs} here")

        # first everything is checked in a folder of its own, then it is moved
        found = []
        for number, entry in enumerate(listed, 1):
            folder = Path(temporary) / str(number)
            found.append((folder, *_job(archive, entry, folder, most)))
        for path in archive.namelist():
            if path.startswith(f"{images.FOLDER}/"):
                images.keep(log.folder, base64.b64encode(_read(archive, path, most)).decode(), image_side)
        folders.check(kept)
        added, names = [], {}
        for folder, record, marked in found:
            new = log.adopt(folder, record)
            if marked:
                marks.replace(new.id, marked)
            names[record.id] = new.id
            added.append(new)
        folders.add({name: [names[job] for job in inside] for name, inside in kept.items()})
        return added


@contextmanager
def _opened(stream: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive. Whatever is wrong with it is one line."""
    try:
        with zipfile.ZipFile(stream) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Refused(f"the file is no project ({error}); want one that a studio exported") from None


def _index(archive: zipfile.ZipFile, most: int) -> tuple[list[dict[str, Any]], Contents]:
    """The jobs that the archive says it has, and their folders, of which older ones say nothing."""
    try:
        data = json.loads(_read(archive, INDEX, most).decode("utf-8"))
        version = data["version"]
        jobs = TypeAdapter(list[dict[str, Any]]).validate_python(data["jobs"])
        folders = contents_in(data.get("folders", {}))
        strangers = {job for inside in folders.values() for job in inside} - {entry.get("id") for entry in jobs}
        if strangers:
            raise ValueError(f"a folder has {min(strangers)[:40]!r}, which is no job of the project")
    except (KeyError, ValueError, TypeError, RecursionError):
        reason = f"{INDEX} is missing or damaged"
        raise Refused(f"the file is no project ({reason}); want one that a studio exported") from None
    if version != VERSION:
        raise Refused(f"the project is of version {version!r}; this program reads version {VERSION}")
    return jobs, folders


def _job(archive: zipfile.ZipFile, entry: Mapping[str, Any], folder: Path, most: int) -> tuple[Record, Marked]:
    """A job's record and marks, its files unpacked into `folder` and checked."""
    folder.mkdir()
    try:
        marked = of_json(entry["marks"])
        record = TypeAdapter(Record).validate_python({key: entry[key] for key in entry.keys() - {"marks"}})
        record = replace(record, request=JobRequest.of(present_form(record.request)).to_dict())
        is_over = record.action in ACTIONS and record.state in (DONE, FAILED, CANCELLED)
        if not is_over:
            raise ValueError(f"it is {record.action[:60]!r}, {record.state[:60]!r}; want one that is over")
        if not all({"method", "mp4"} <= version.keys() for version in record.files):
            raise ValueError("a take has no method or no mp4")

        # names of files in a folder of its own, of kinds that are served as what they are
        names = _files_of(record)
        for name in (record.id, *names):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name[:60]!r} is no name")
        for name in names:
            if Path(name).suffix not in SUFFIXES:
                raise ValueError(f"file {name[:60]!r} is none of {', '.join(SUFFIXES)}")
            _unpack(archive, f"{record.id}/{name}", folder / name, most)
            if Path(name).suffix != ".json":
                probe(folder / name)
    except (AnimaticError, KeyError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()).replace(str(folder), "JOB")
        raise Refused(f"the project has a job that cannot be read ({reason[:200]})") from None
    sync_tree(folder)
    return record, marked


def _unpack(archive: zipfile.ZipFile, name: str, path: Path, most: int) -> None:
    """Write a member's content into a file, block by block. Raises `ValueError` as `_read` does."""
    with path.open("wb") as file:
        for block in _blocks(archive, name, most):
            file.write(block)


def _read(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A small member's content. Raises `ValueError` where there is none, or more than `most` bytes of it."""
    return b"".join(_blocks(archive, name, most))


def _blocks(archive: zipfile.ZipFile, name: str, most: int) -> Iterator[bytes]:
    try:
        member = archive.open(name)
    except KeyError:
        raise ValueError(f"{name[:100]} is missing") from None
    count = 0
    with member:
        while block := member.read(BLOCK):
            count += len(block)
            if count > most:  # what it says of its size need not be true
                raise ValueError(f"{name[:100]} has more than {most} bytes")
            yield block


def _files_of(record: Record) -> list[str]:
    """Names of a job's files; several takes may share one."""
    names: dict[str, None] = {}
    for version in record.files:
        names.update((name, None) for kind, name in version.items() if kind not in FACTS)
    return list(names)
