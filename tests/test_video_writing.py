"""What files are written for: players' colours, browsers' timing, the sound that was there."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from animatic.errors import AnimaticError
from animatic.media.sound import Sound
from animatic.video import Video

FAULTS = Path(__file__).parent / "faults" / "videos"
SAMPLES = 44100


def numbered(count: int, fps: float) -> Video:
    """Frames whose levels count up, two at a time."""
    return Video(np.broadcast_to(2 * np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 16, 24, 3)), fps)


def delays_of(path: Path) -> list[int]:
    with Image.open(path) as picture:
        found = []
        for number in range(picture.n_frames):
            picture.seek(number)
            picture.load()
            found.append(picture.info["duration"])
        return found


# ---- timing


@pytest.mark.parametrize(("fps", "count", "kept"), [(60, 60, 50), (119, 119, 50), (100, 50, 25), (51, 102, 100)])
def test_a_gif_shows_fifty_frames_a_second_at_most(fps, count, kept, tmp_path):
    video = numbered(count, fps)
    delays = delays_of(video.save(tmp_path / "v.gif", scale=1))
    assert len(delays) == kept and min(delays) >= 20
    assert sum(delays) == pytest.approx(1000 * count / fps, abs=10)
    (line,) = video.losses(".gif")
    assert (
        line
        == f"gif shows 50 frames a second at most: {count - kept} of {count} frames are left out, the timing is kept"
    )

    # At every time that frame is seen which the video shows then, or the one before.
    found = Video.load(tmp_path / "v.gif")
    for tick, level in enumerate(found.frames[:, 0, 0, 0].astype(int)):
        assert 0 <= tick / found.fps * fps - level / 2 < 1 + 1e-6


@pytest.mark.parametrize("fps", [8, 24, 30, 30000 / 1001, 48])
def test_delays_in_hundredths_do_not_drift(fps, tmp_path):
    delays = delays_of(numbered(96, fps).save(tmp_path / "v.gif", scale=1))
    begins = np.cumsum([0, *delays[:-1]])
    assert len(delays) == 96 and np.abs(begins - 1000 * np.arange(96) / fps).max() <= 5
    assert not numbered(96, fps).losses(".gif")


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_milliseconds(suffix, tmp_path):
    video = numbered(60, 60)
    delays = delays_of(video.save(tmp_path / f"v{suffix}", scale=1))
    assert len(delays) == 60 and sum(delays) == 1000 and not video.losses(suffix)
    assert Video.load(tmp_path / f"v{suffix}").fps == pytest.approx(60)
    assert len(numbered(100, 200).losses(suffix)) == 1  # 5 ms would be shown as 100


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(60000, 1001), Fraction(16, 3), Fraction(120)])
def test_broadcast_rates_are_exact(suffix, fps, tmp_path):
    path = numbered(60, float(fps)).save(tmp_path / f"v{suffix}", scale=1)
    with av.open(str(path)) as container:  # nanoseconds in Matroska
        assert float(container.streams.video[0].average_rate) == pytest.approx(float(fps), rel=1e-6)
    assert Video.load(path).fps == float(fps) and len(Video.load(path)) == 60


# ---- colours


@pytest.mark.parametrize(("height", "matrix", "weights"), [(64, 6, (0.299, 0.114)), (720, 1, (0.2126, 0.0722))])
def test_colours_are_converted_and_tagged_alike(height, matrix, weights, tmp_path):
    """H.273's numbers, and luma by the weights of BT.601 and BT.709."""
    frames = np.empty((2, height, 64, 3), np.uint8)
    frames[:] = (200, 40, 60)
    path = Video(frames).save(tmp_path / "v.mp4", scale=1)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (matrix, 1, 1, 1)
    red, blue = weights
    luma = 16 + 219 / 255 * (red * 200 + (1 - red - blue) * 40 + blue * 60)
    assert abs(float(frame.to_ndarray()[:height].mean()) - luma) <= 1
    assert np.abs(Video.load(path).frames.astype(int) - frames).max() <= 4


# ---- sound


def with_sound(path: Path, codec: str, rate: int = SAMPLES, layout: str = "stereo", tracks: int = 1) -> Path:
    """Two seconds of grey frames with a click of a twentieth of a second at 1 s."""
    wave = np.zeros(2 * rate, np.int16)
    wave[rate : rate + rate // 20] = 20000 * np.sin(np.arange(rate // 20) * 2 * np.pi * 440 / rate)
    channels = len(av.AudioLayout(layout).channels)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        heard = [container.add_stream(codec, rate=rate, layout=layout) for _ in range(tracks)]
        for _ in range(16):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 128, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for track in heard:
            frame = av.AudioFrame.from_ndarray(np.repeat(wave, channels)[None], format="s16", layout=layout)
            frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for packet in [*track.encode(frame), *track.encode(None)]:
                container.mux(packet)
    return path


def heard_at(path: Path) -> tuple[str, float]:
    """(codec, seconds after the first frame at which the click begins)."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        codec = container.streams.audio[0].codec_context.codec.canonical_name
        for frame in container.decode(audio=0):
            wave = frame.to_ndarray().astype(float)
            wave = np.abs(wave if frame.format.is_planar else wave.reshape(-1, len(frame.layout.channels)).T).max(0)
            loud = np.flatnonzero(wave > (3000 if wave.max() > 1.5 else 0.1))
            if len(loud):
                return codec, frame.time + loud[0] / frame.sample_rate - first
    raise AssertionError("silence")


@pytest.mark.parametrize(
    ("name", "codec", "in_mp4"),
    [("v.mp4", "aac", "aac"), ("v.mkv", "pcm_s16le", "aac"), ("v.mkv", "flac", "flac"), ("v.ts", "mp2", "aac")],
)
def test_sound_is_heard_when_it_was(name, codec, in_mp4, tmp_path):
    """Copied where the file can hold it, else as AAC; a .ts begins at 1.4 s, and AAC with what is not to be heard."""
    source = with_sound(tmp_path / name, codec, 48000 if codec == "mp2" else SAMPLES)
    assert heard_at(source)[1] == pytest.approx(1, abs=0.01)
    video = Video.load(source)
    assert video.sound is not None and video.info.get("damage") is None
    for suffix, kept in ((".mp4", in_mp4), (".mkv", codec)):
        found, at = heard_at(video.save(tmp_path / f"again{suffix}", scale=1))
        assert found == kept and at == pytest.approx(1, abs=0.03), suffix  # within a packet of AAC
    twice = Video.load(tmp_path / "again.mp4").save(tmp_path / "twice.mkv", scale=1)
    assert heard_at(twice)[1] == pytest.approx(1, abs=0.03)


def test_sound_is_copied_packet_by_packet(tmp_path):
    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(p) for p in container.demux(audio=0) if p.size]

    video = Video.load(FAULTS / "audio.mp4")
    made = video.save(tmp_path / "v.mp4", scale=1)
    assert packets(made) == packets(FAULTS / "audio.mp4")
    with av.open(str(made)) as container:
        assert float(container.streams.audio[0].duration * container.streams.audio[0].time_base) == pytest.approx(
            2, abs=0.05
        )


def test_every_track_is_kept(tmp_path):
    video = Video.load(with_sound(tmp_path / "two.mkv", "pcm_s16le", tracks=2, layout="mono"))
    for suffix in (".mp4", ".mkv"):
        with av.open(str(video.save(tmp_path / f"v{suffix}", scale=1))) as container:
            assert len(container.streams.audio) == 2


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_sound_that_a_file_cannot_hold_is_said_to_be_left_out(suffix):
    video = Video.load(FAULTS / "audio.mp4")
    assert video.losses(suffix) == [f"{suffix[1:]} holds no sound: it is left out; mp4 and mkv keep it"]
    assert not video.losses(".mp4") and not video.losses(".mkv")


def test_sound_says_little():
    assert repr(Sound(b"x" * 99)) == "Sound()"


def test_what_a_codec_refuses_is_one_line(tmp_path):
    with pytest.raises(AnimaticError, match=r"a video of 20000 x 2 as libx264 cannot be written \("):
        Video(np.zeros((1, 2, 20000, 3), np.uint8)).save(tmp_path / "v.mp4", scale=1)
    assert not list(tmp_path.iterdir())
