"""Locks between processes, which the system lets go when their owner ends in any way, `kill -9` too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import AnimaticError
from .files import make_folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for it as long as need be. The file stays."""
    lock = _lock_of(path)
    try:
        make_folder(path.parent)  # what is written into it later outlasts a power cut
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise _unusable(path, error) from None
    try:
        yield
    finally:
        lock.release()


def hold(path: Path, owner: str) -> FileLock:
    """Take the lock file `path` until `release` is called or this process ends.

    Raises `AnimaticError` where another process has it; `owner` says what that is.
    """
    lock = _lock_of(path)
    try:
        make_folder(path.parent)
        lock.acquire(blocking=False)
    except Timeout:
        raise AnimaticError(f"{path.parent} is in use by {owner}; want another folder") from None
    except (OSError, NotImplementedError) as error:
        raise _unusable(path, error) from None
    return lock


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file `path` now; False where there is no such file."""
    if not path.exists():
        return False
    try:
        with _lock_of(path).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError) as error:
        raise _unusable(path, error) from None


def _lock_of(path: Path) -> FileLock:
    """Never the library's soft lock, a mere marker file that a killed process would leave behind."""
    return FileLock(path, thread_local=False, poll_interval=0.01, fallback_to_soft=False)


def _unusable(path: Path, error: Exception) -> AnimaticError:
    reason = getattr(error, "strerror", None) or str(error)
    return AnimaticError(
        f"{path}: cannot be locked ({reason}); want a folder that can be written, on a disk with locks"
    )
