"""LVD's joblib videos are read as frames; nothing else that a pickle may ask for is made."""

import bz2
import os
import pickle
import sys

import numpy as np
import pytest

from animatic.errors import AnimaticError
from animatic.media.reading import probe
from animatic.video import Video

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 24, 40, 3), np.uint8)


def test_without_joblib_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib.numpy_pickle", None)
    (tmp_path / "video.joblib").write_bytes(b"\x80\x04.")
    with pytest.raises(AnimaticError, match=r"joblib files need joblib; pip install 'animatic\[lvd\]'"):
        Video.load(tmp_path / "video.joblib")


@pytest.mark.parametrize("compress", [("bz2", 3), ("gzip", 3), 0])
@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, list])
def test_frames_of_lvd(form, compress, tmp_path):
    joblib = pytest.importorskip("joblib")
    file = tmp_path / "video_seed0.joblib"
    joblib.dump(form(FRAMES), file, compress=compress)
    video, found = Video.load(file), probe(file)
    assert np.array_equal(video.frames, FRAMES) and video.fps == 8
    assert (found.frames, found.height, found.width) == (3, 24, 40)
    with pytest.raises(AnimaticError, match="are free; want a shorter or smaller video"):
        Video.load(file, most=FRAMES.nbytes - 1)


def test_commands_read_it(tmp_path, here):
    joblib = pytest.importorskip("joblib")
    joblib.dump(FRAMES, tmp_path / "video.joblib", compress=("bz2", 3))
    code, _, err = here("finish", "video.joblib", "--then", "blend:2", "--format", "npz")
    assert code == 0, err
    assert np.array_equal(Video.load("out/video.finished.npz").frames[::2], FRAMES)
    code, _, err = here("info", "video.joblib")
    assert code == 2 and "says nothing of how it was made" in err


class Code:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


BAD = {
    "code": (lambda trap: Code(trap), "asks for (posix|nt).mkdir, which may be code"),
    "code in an array": (lambda trap: np.array([Code(trap)], object), "its frames are object; want uint8"),
    "code beside frames": (lambda trap: [FRAMES, Code(trap)], "asks for (posix|nt).mkdir"),
    "floats": (lambda trap: FRAMES / 255, "its frames are float64; want uint8"),
    "words": (lambda trap: ["a cat"], "holds no frames of one size"),
    "sizes": (lambda trap: [FRAMES[0], FRAMES[0, 1:]], "holds no frames of one size"),
    "grey": (lambda trap: FRAMES[..., 0], r"its frames are \[3, 24, 40\]; want"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_video_is_one_line_and_runs_no_code(name, tmp_path):
    joblib = pytest.importorskip("joblib")
    made, message = BAD[name]
    joblib.dump(made(str(tmp_path / "trap")), tmp_path / "bad.joblib", compress=("bz2", 3))
    with pytest.raises(AnimaticError, match=message):
        Video.load(tmp_path / "bad.joblib")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("data", [b"", b"hello", b"\x80\x04\x95", bz2.compress(b"\x80\x04"), pickle.dumps(FRAMES)])
def test_what_is_no_joblib_file_is_one_line(data, tmp_path):
    pytest.importorskip("joblib")
    (tmp_path / "bad.joblib").write_bytes(data)
    with pytest.raises(AnimaticError, match=r"cannot be read as joblib|which may be code"):
        Video.load(tmp_path / "bad.joblib")
