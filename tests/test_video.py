"""Videos to files and back: pixels, timing and what they were made from."""

import os
import random

import numpy as np
import pytest
from conftest import Altered

from animatic import files
from animatic.contact_sheet import contact_sheet
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track
from animatic.toy.captions import invent
from animatic.toy.world import draw
from animatic.video import Video, draw_boxes, read_info, sketch

INFO = {"prompt": "a bear, é", "seed": 3, "scene": {"tracks": [1, 2]}}
BOX = Scene("a", (Track("bear", ((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1))),), seconds=1)


@pytest.fixture(scope="module")
def video():
    return Video(draw(invent(random.Random(3), 8), 8)[0], 4.0, INFO)


@pytest.mark.parametrize(("suffix", "error"), [(".mp4", 2.0), (".gif", 1.0), (".webp", 0), (".png", 0)])
def test_files_keep_frames_timing_and_origin(video, tmp_path, suffix, error):
    path = video.save(tmp_path / f"v{suffix}")
    read = Video.load(path)
    assert read.frames.shape == (8, 256, 256, 3) and read.fps == pytest.approx(4.0)
    assert np.abs(read.frames.astype(int) - video.enlarged(4).frames).mean() <= error
    assert read.info == INFO and read_info(path) == INFO
    assert [p.name for p in tmp_path.iterdir()] == [f"v{suffix}"]


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png"])
def test_the_same_video_is_the_same_file(video, tmp_path, suffix):
    a, b = (video.save(tmp_path / f"{n}{suffix}").read_bytes() for n in "ab")
    assert a == b


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png"])
def test_one_odd_sized_frame(tmp_path, suffix):
    frames = np.random.default_rng(0).integers(0, 255, (1, 31, 45, 3), np.uint8)
    read = Video.load(Video(frames, 8.0, INFO).save(tmp_path / f"v{suffix}", scale=1))
    assert len(read) == 1 and read.info == INFO
    assert read.frames.shape[1:3] == ((32, 46) if suffix == ".mp4" else (31, 45))
    if suffix in (".webp", ".png"):
        assert np.array_equal(read.frames, frames)


def test_fractional_rates(video, tmp_path):
    assert Video.load(Video(video.frames, 16 / 3).save(tmp_path / "v.mp4")).fps == pytest.approx(16 / 3)


def test_bad_input(video, tmp_path):
    with pytest.raises(AnimaticError, match=r"v\.avi: unknown kind of file; want \.mp4"):
        video.save(tmp_path / "v.avi")
    (tmp_path / "file").write_text("x")
    with pytest.raises(AnimaticError, match="cannot be written"):
        video.save(tmp_path / "file" / "v.mp4")
    for suffix in (".mp4", ".gif", ".webp", ".png"):
        (tmp_path / f"bad{suffix}").write_bytes(b"nonsense")
        with pytest.raises(AnimaticError, match="cannot be read"):
            Video.load(tmp_path / f"bad{suffix}")
        with pytest.raises(AnimaticError, match="cannot be read"):
            Video.load(tmp_path / f"none{suffix}")
    with pytest.raises(AnimaticError, match=r"frames are float64 \[1, 2, 2, 3\]; want uint8"):
        Video(np.zeros((1, 2, 2, 3)))
    with pytest.raises(AnimaticError, match="fps is 0"):
        Video(video.frames, 0)
    with pytest.raises(AnimaticError, match="says nothing of how it was made"):
        read_info(Video(video.frames).save(tmp_path / "plain.gif"))


def test_a_failed_write_leaves_the_old_file(video, tmp_path, monkeypatch):
    path = video.save(tmp_path / "v.gif")
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "os", Altered(os, replace=interrupted))
    with pytest.raises(KeyboardInterrupt):
        Video(255 - video.frames).save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["v.gif"]


def test_boxes_are_drawn_where_they_are():
    blank = Video(np.zeros((2, 20, 20, 3), np.uint8))
    drawn = draw_boxes(blank, BOX, scale=8).frames
    assert drawn.shape == (2, 160, 160, 3)
    assert drawn[0, 80:].sum() < drawn[0, :80].sum() and drawn[1, 80:].sum() > drawn[1, :60].sum()
    assert drawn[1, 140, 80].any() and not drawn[1, 140, 120].any(), "an outline, not a block"


def test_pages():
    video = sketch(BOX, 10, 64, 64)
    assert len(video) == 10 and video.fps == 10
    page = contact_sheet(video, BOX, columns=4, title="a long title " * 20)
    bare = contact_sheet(video, columns=4)
    assert page.height > bare.height and page.width == bare.width
