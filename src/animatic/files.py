"""Files read and written whole: what goes wrong is one line, and a file is written or left as it was."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from .errors import AnimaticError

PARTIAL = "."  # begins the name of a file that is being written


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, UTF-8. Raises `AnimaticError` where it cannot be read."""
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise AnimaticError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise AnimaticError(f"{path}: cannot be read ({error})") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds. Raises `AnimaticError` where it cannot be read or is no JSON."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise AnimaticError(f"{path}: not JSON ({error})") from None
    except RecursionError:
        raise AnimaticError(f"{path}: not JSON of ours (nested too deeply)") from None
    except ValueError:  # Python's limit, against quadratic time
        raise AnimaticError(f"{path}: not JSON of ours (a number of thousands of digits)") from None


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write all of `data` or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_writable(target: str | os.PathLike[str]) -> None:
    """Raise `AnimaticError` before the work where files called TARGET.* cannot be written after it."""
    target = Path(target)
    probe = target.with_name(f"{target.name}.{os.getpid()}.probe")
    write_atomically(probe, b"")
    probe.unlink()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file next to `path` to write to: it takes the place of `path` at the end, or is gone on an error.

    Its bytes are on the disk before its name is, so that a power cut leaves the old file or the whole new one; and both
    are there when this returns, so that what is said of the file afterwards is true.
    """
    path = Path(path)
    try:
        make_folder(path.parent)
        temporary = _new_file(path)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AnimaticError(f"{path}: cannot be written ({error.strerror})") from None


def _new_file(path: Path) -> Path:
    """An empty hidden file next to `path`, with the permissions that the user's umask leaves."""
    # mkstemp's would be readable by their owner alone
    temporary = path.with_name(f"{PARTIAL}{path.name}.{secrets.token_hex(4)}{path.suffix}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, which are there after a power cut."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    # Windows opens no folders, and writes names down by itself
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # some network disks have no such call for folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """`sync` a folder with all that is in it."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fresh_path(
    path: str | os.PathLike[str],
    replaceable: Callable[[Path], bool] = lambda file: False,
    suffixes: Sequence[str] = (),
) -> Path:
    """Where a result can be written without losing another: `path`, or NAME-2, NAME-3, ... in its folder.

    A name is free where no file has it, or where `replaceable(file)` says that the file is the same result (same input,
    same settings). With `suffixes` (".mp4", ".gif") `path` has none itself, and is free where it is with all of them.
    """
    path = Path(path)
    if suffixes:
        stem = path.name
        endings = suffixes
    else:
        stem = path.stem
        endings = (path.suffix,)

    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        files = [path.with_name(name + ending) for ending in endings]
        if all(not os.path.exists(file) or replaceable(file) for file in files):  # a Path's raises on too long a name
            return path.with_name(name) if suffixes else files[0]
    raise AssertionError("unreachable: there is always a next number")
