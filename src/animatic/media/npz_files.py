"""Videos as NumPy's `.npz`, without loss: frames, their rate, and metadata.

Arrays of a file: `frames` uint8 `[frame, height, width, 3]`, `fps` (frames per second), `info` (JSON text). Files of
other programs may hold their frames under any name if it is their only array, and have no rate.
"""

from __future__ import annotations

import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ..errors import AnimaticError
from .formats import INFO_BYTES, embedded_info
from .frame_buffer import RATE, Decoded, Probe, check_memory
from .sound import Sound

MAGIC = b"PK\x03\x04"  # a zip archive
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
    *(
        TypeError,
        ValueError,
        LookupError,
        MemoryError,
        OverflowError,
        SyntaxError,
        tokenize.TokenError,
    ),  # of its header
)


def can_read(path: Path) -> bool:
    """Whether these functions read it: by its first bytes, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:  # reported by the reader
        return False


def write(path: Path, frames: np.ndarray, fps: float, info: Mapping[str, Any], sound: Sound | None) -> None:
    """All frames in one compressed array. Sound has no place in such a file (`encoding.losses` says so)."""
    origin = np.array(json.dumps(dict(info)))
    np.savez_compressed(path, frames=frames, fps=np.float64(fps), info=origin)


def probe(path: Path) -> Probe:
    """Shape, rate and origin. The frames are not decompressed."""
    with _opened(path) as archive:
        return _probe(path, archive)


def read(path: Path, most: int = 0) -> Decoded:
    """All frames, after a check that they fit into `most` bytes (0: what is free)."""
    with _opened(path) as archive:
        plan = _probe(path, archive)
        check_memory(path, plan.frames, plan.height, plan.width, most)
        with archive.open(_frames_member(path, archive)) as file:
            frames = npy.read_array(file, allow_pickle=False)
    return Decoded(np.ascontiguousarray(frames), plan.fps, plan.info, None)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UNREADABLE as error:
        raise AnimaticError(f"{path}: cannot be read as npz ({error})") from None


def _probe(path: Path, archive: zipfile.ZipFile) -> Probe:
    member = _frames_member(path, archive)
    with archive.open(member) as file:
        shape, dtype = _header(file)
    if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
        raise AnimaticError(f"{path}: its frames are {dtype} {list(shape)}; want uint8 [frame, height, width, 3]")

    rate = _small_array(path, archive, "fps", RATE)
    is_number = not rate.shape and rate.dtype.kind in "fiu"
    if not is_number or not (0 < float(rate) < np.inf):
        raise AnimaticError(f"{path}: fps is {str(rate)[:40]}; want one number above 0")

    comment = str(_small_array(path, archive, "info", "{}"))
    info = embedded_info({"comment": comment})
    count, height, width, _ = shape
    return Probe(count, height, width, float(rate), info)


def _frames_member(path: Path, archive: zipfile.ZipFile) -> str:
    """The name of the array that holds the frames: `frames`, else the only one."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    if "frames.npy" in names:
        return "frames.npy"
    if len(names) != 1:
        raise AnimaticError(f"{path}: holds {len(names)} arrays; want one called frames, or one alone")
    return names[0]


def _small_array(path: Path, archive: zipfile.ZipFile, name: str, otherwise: Any) -> np.ndarray:
    """A small array stored with the frames, or `otherwise` where the file has none of this name."""
    member = f"{name}.npy"
    if member not in archive.namelist():
        return np.array(otherwise)
    if archive.getinfo(member).file_size > INFO_BYTES:
        raise AnimaticError(f"{path}: its {name} is larger than {INFO_BYTES} bytes")
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, without its values."""
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return shape, dtype
