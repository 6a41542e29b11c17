"""Frames of a file as a stream: those that reading the whole gives, and only those asked for are in memory."""

import random
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animatic.errors import AnimaticError
from animatic.media import reading
from animatic.media.frame_stream import FrameStream
from animatic.training.clips import SHORT, Cut
from animatic.training.items import decoded
from animatic.video import Video


def clip(path: Path, frames: int = 23, height: int = 48, width: int = 64) -> Path:
    """A file whose frames all differ."""
    noise = np.random.default_rng(0).integers(0, 256, (frames, height // 8, width // 8, 3), np.uint8)
    Video(noise.repeat(8, 1).repeat(8, 2), 12.0, {"prompt": "a bear"}).save(path, scale=1)
    return path


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are streamed too."""
    monkeypatch.setattr(reading, "SMALL", 0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_stream_has_the_frames_of_the_whole(tmp_path: Path, suffix):
    file = clip(tmp_path / f"clip{suffix}")
    whole, stream = Video.load(file), FrameStream(file)
    assert (len(stream), stream.fps, dict(stream.info)) == (len(whole), whole.fps, dict(whole.info))
    for numbers in ([0], [22], [3, 4, 5], [5, 3, 5, 0], range(23)):
        assert np.array_equal(stream.take(numbers), whole.frames[list(numbers)]), numbers


def test_a_file_that_was_cut_off_is_streamed_as_far_as_it_goes(tmp_path: Path):
    file = clip(tmp_path / "clip.mkv")
    file.write_bytes(file.read_bytes()[:-3000])
    whole, stream = Video.load(file), FrameStream(file)
    assert whole.info["damage"] and stream.info["damage"] == whole.info["damage"]
    assert len(stream) == len(whole) < 23
    assert np.array_equal(stream.take(range(len(whole))), whole.frames)


def test_uneven_frames_are_repeated_alike(tmp_path: Path):
    """Frames of unequal durations: each is shown for its ticks of the constant rate."""
    import av

    file = tmp_path / "uneven.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width = stream.height = 32
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate((0, 100, 400, 500, 900)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * number, np.uint8))
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    whole, streams = Video.load(file), FrameStream(file)
    assert len(whole) > 5, "nothing is repeated: the file is no test"
    assert (len(streams), streams.fps) == (len(whole), whole.fps)
    assert np.array_equal(streams.take(range(len(whole))), whole.frames)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("short", [name for name in SHORT if name != "skip"])
def test_training_cuts_a_stream_as_it_cuts_the_whole(tmp_path: Path, short):
    file = clip(tmp_path / "clip.mp4")
    source = Video.source(file)
    assert isinstance(source, FrameStream)
    for frames in (4, 60):
        cut = Cut(frames, 32, 32, 7.0, short, flip=True)
        wanted = cut(Video.load(file), random.Random(1))
        assert np.array_equal(cut(source, random.Random(1)), wanted)


@pytest.mark.usefixtures("streamed")
def test_a_file_of_an_archive_is_there_as_long_as_its_stream(tmp_path: Path):
    file = clip(tmp_path / "clip.mp4")
    source = decoded(file.read_bytes(), ".mp4", "shard.tar:clip.mp4")
    assert isinstance(source, FrameStream) and source.path.exists()
    assert np.array_equal(source.take([7]), Video.load(file).frames[[7]])
    temporary = source.path
    del source
    assert not temporary.exists()


def test_a_long_file_takes_the_memory_of_a_short_part(tmp_path: Path):
    file = clip(tmp_path / "long.mkv", 120, 512, 512)
    tracemalloc.start()
    source = Video.source(file)
    part = source.take(range(50, 54))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(source, FrameStream) and len(source) == 120
    assert most < 8 * part.nbytes < 120 * 512 * 512 * 3 / 2


def test_small_files_are_read_once(tmp_path: Path):
    assert isinstance(Video.source(clip(tmp_path / "clip.mp4")), Video)


def test_a_file_that_changes_meanwhile_is_named(tmp_path: Path):
    stream = FrameStream(clip(tmp_path / "clip.mkv"))
    clip(tmp_path / "clip.mkv", 5)
    with pytest.raises(AnimaticError, match=r"clip\.mkv: has fewer frames than before"):
        stream.take([20])
