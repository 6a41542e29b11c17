"""Videos that LVD saved with joblib: frames as one array or a list of arrays, without metadata.

A joblib file is a pickle, which may carry code. Of these only arrays of bytes are made, and anything else is refused
before it is made (https://docs.python.org/3/library/pickle.html#restricting-globals).
"""

from __future__ import annotations

import bz2
import gzip
import math
import pickle
import struct
import zlib
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import AnimaticError
from .frame_buffer import RATE, Decoded, Probe, check_memory

SUFFIX = ".joblib"
OPENERS = {b"BZh": bz2.open, b"\x1f\x8b": gzip.open}  # by first bytes; LVD compresses by bz2
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, pickle.UnpicklingError, struct.error,
    zlib.error,
)  # fmt: skip


def can_read(path: Path) -> bool:
    """Whether these functions read it: by its name, as pickles have no first bytes of their own."""
    return path.suffix.lower() == SUFFIX


def probe(path: Path) -> Probe:
    """Its shape, for which the file has to be read."""
    count, height, width, _ = read(path).frames.shape
    return Probe(count, height, width, RATE, {})


def read(path: Path, most: int = 0) -> Decoded:
    """All frames, in at most `most` bytes (0: what is free), at LVD's 8 a second.

    Raises `AnimaticError` where the file holds anything but frames, and where joblib is not installed.
    """
    try:
        with path.open("rb") as file:
            start = file.read(3)
        opener: Any = open
        for magic, compressed in OPENERS.items():
            if start.startswith(magic):
                opener = compressed
        with opener(path, "rb") as file:
            found = _unpickler(path, file, most).load()
    except AnimaticError:  # is a ValueError, too
        raise
    except UNREADABLE as error:
        raise AnimaticError(f"{path}: cannot be read as joblib ({' '.join(str(error).split())})") from None

    # A video is one array, or a list of its frames.
    frames = found if isinstance(found, list) else [found]
    are_arrays = bool(frames) and all(isinstance(array, np.ndarray) for array in frames)
    if not are_arrays or any(array.shape != frames[0].shape for array in frames):
        raise AnimaticError(f"{path}: holds no frames of one size; want an array, or a list of arrays")
    video = np.stack(frames) if isinstance(found, list) else frames[0]
    if video.ndim != 4 or video.shape[-1] != 3 or 0 in video.shape:
        raise AnimaticError(f"{path}: its frames are {list(video.shape)}; want [frame, height, width, 3]")
    return Decoded(np.ascontiguousarray(video), RATE, {}, None)


def _unpickler(path: Path, file: IO[bytes], most: int) -> Any:
    """joblib's own, to which no names are known but those of its arrays of bytes."""
    try:
        library: Any = import_module("joblib.numpy_pickle")
    except ImportError:
        raise AnimaticError(f"{path}: joblib files need joblib; pip install 'animatic[lvd]'") from None

    total = 0  # bytes of all arrays so far

    class Bytes(library.NumpyArrayWrapper):
        """The header of an array in the pickle; its values follow in the file."""

        def read(self, unpickler: Any, *options: Any) -> np.ndarray:
            shape, dtype = self.shape, self.dtype
            if dtype != np.dtype(np.uint8):  # of objects they would be another pickle
                raise AnimaticError(f"{path}: its frames are {dtype}; want uint8")
            if not isinstance(shape, tuple) or not all(type(size) is int and size > 0 for size in shape):
                raise AnimaticError(f"{path}: its frames are of shape {str(shape)[:60]}")
            nonlocal total
            total += math.prod(shape)
            check_memory(path, math.ceil(total / 3), 1, 1, most)
            return self.read_array(unpickler, *options)

    known = {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): Bytes,
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): object,  # named with each array, never made
    }

    class OnlyArrays(library.NumpyUnpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in known:
                raise AnimaticError(f"{path}: asks for {module}.{name}, which may be code; want arrays alone")
            return known[module, name]

    return OnlyArrays(str(path), file, ensure_native_byte_order=False)
