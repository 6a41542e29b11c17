"""Files of others are read as they are meant to be seen: times, sides, shapes, depths, colours, kinds."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from animatic.errors import AnimaticError
from animatic.media.formats import VIDEO_SUFFIXES
from animatic.media.reading import probe
from animatic.media.timing import constant_rate
from animatic.video import Video

FAULTS = Path(__file__).parent / "faults" / "videos"
LEVELS = np.arange(10, 250, 30, np.uint8)  # of eight grey frames that can be told apart after any codec


def greys(count: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.broadcast_to(LEVELS[:count, None, None, None], (count, height, width, 3))


def written(path: Path, frames, codec="libx264", layout="yuv420p", ticks=None, base=8, **attributes) -> Path:
    """A video as others write it; `ticks` are the frames' times in `1 / base` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=base if ticks is None else 30)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], layout
        for name, value in attributes.items():
            setattr(stream.codec_context, name, value)
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, base)
        for number, pixels in enumerate(frames):
            kind = {3: "rgb24", 4: "rgba"}[pixels.shape[-1]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=kind)
            if ticks is not None:
                frame.pts, frame.time_base = ticks[number], Fraction(1, base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def order(video: Video) -> list[int]:
    """Which of the grey frames stands at each tick."""
    means = video.frames.mean((1, 2, 3))
    return np.abs(means[:, None] - LEVELS.astype(float)).argmin(1).tolist()


# ---- times


def test_no_frame_of_a_screen_recording_is_lost():
    """30 frames in a second, then 10 in nearly two."""
    video = Video.load(FAULTS / "screenrec.mp4")
    assert video.fps == 30 and len(video) == 85 == probe(FAULTS / "screenrec.mp4").frames
    with av.open(str(FAULTS / "screenrec.mp4")) as container:
        given = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    first_ticks = [*range(30), *range(30, 85, 6)]
    assert len(given) == len(first_ticks) == 40
    for frame, tick in zip(given, first_ticks, strict=True):
        assert np.abs(video.frames[tick].astype(int) - frame).max() <= 2


def test_frames_of_unequal_length_in_milliseconds(tmp_path):
    """Matroska rounds to milliseconds: 25 fps with a hold, and a beat that jitters by a quarter of a frame."""
    held = Video.load(written(tmp_path / "held.mkv", greys(6), ticks=[0, 40, 80, 400, 440, 480], base=1000))
    assert held.fps == pytest.approx(25, rel=0.01) and order(held) == [0, 1, *[2] * 8, 3, 4, 5]
    shaken = Video.load(
        written(tmp_path / "shaken.mkv", greys(8), ticks=[0, 42, 71, 120, 151, 204, 240, 273], base=1000)
    )
    assert list(dict.fromkeys(order(shaken))) == list(range(8)) and len(shaken) <= 12


def test_frames_too_close_are_left_out_with_a_word(tmp_path):
    path = written(tmp_path / "burst.mkv", greys(4), ticks=[0, 1, 2, 1000], base=1000)
    video = Video.load(path)
    assert video.fps == 120 and order(video)[:121] == [*[2] * 120, 3]
    assert video.info["damage"] == f"{path}: 2 of 4 frames follow within 1/120 s and are left out"


def test_beats():
    even = constant_rate([k / 30 for k in range(300)], 1 / 30, [29.9, 30.0])
    assert even.fps == 30 and even.count == 300 and even.lost == 0
    fast = constant_rate([0, 0.001, 0.002, 1.0], 0.1, [4.0])  # never more than the cap, and it is known what that costs
    assert fast.fps == 120 and fast.lost == 2 and fast.count == 132
    slow_motion = constant_rate([k / 240 for k in range(24)], 1 / 240, [240.0])  # even, so nothing is repeated
    assert slow_motion.fps == 240 and slow_motion.count == 24


def test_delays_of_animated_pictures(tmp_path):
    video = Video.load(FAULTS / "vardur.gif")  # 100, 100, 1000, 100, 100, 100 ms
    assert video.fps == 10 and len(video) == 15
    changes = np.abs(np.diff(video.frames.astype(int), axis=0)).max((1, 2, 3)) > 0
    assert np.flatnonzero(changes).tolist() == [0, 1, 11, 12, 13]

    first, *rest = map(Image.fromarray, greys(4))
    for suffix in (".webp", ".png", ".gif"):
        path = tmp_path / f"uneven{suffix}"
        first.save(path, save_all=True, append_images=rest, duration=[60, 60, 300, 120], loop=0)
        found = Video.load(path)
        assert found.fps == pytest.approx(1000 / 60) and order(found) == [0, 1, 2, 2, 2, 2, 2, 3, 3]
    first.save(tmp_path / "hurried.gif", save_all=True, append_images=rest, duration=0, loop=0)
    assert Video.load(tmp_path / "hurried.gif").fps == 10  # as every browser shows it


# ---- sides and shapes


def test_pixels_that_are_not_square(tmp_path):
    assert Video.load(FAULTS / "anamorphic.mp4").frames.shape == (16, 64, 192, 3)
    tall = written(tmp_path / "tall.mkv", greys(3), sample_aspect_ratio=Fraction(1, 2))
    video = Video.load(tall)
    assert video.frames.shape == (3, 64, 48, 3) and probe(tall).height == 64


CORNERS = np.zeros((32, 48, 3), np.uint8)  # red, green, blue, white: no two of the eight orientations look the same
CORNERS[:16, :24], CORNERS[:16, 24:], CORNERS[16:, :24], CORNERS[16:, 24:] = (
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
)  # fmt: skip
ORIENTATIONS = {  # a, b, c, d of x' = a x + c y, y' = b x + d y, and what is seen
    (1, 0, 0, 1): lambda x: x,
    (-1, 0, 0, 1): lambda x: x[:, ::-1],
    (-1, 0, 0, -1): lambda x: x[::-1, ::-1],
    (1, 0, 0, -1): lambda x: x[::-1],
    (0, 1, 1, 0): lambda x: x.swapaxes(0, 1),
    (0, 1, -1, 0): lambda x: np.rot90(x, -1),  # a phone held upright
    (0, -1, -1, 0): lambda x: np.rot90(x, 2).swapaxes(0, 1),
    (0, -1, 1, 0): lambda x: np.rot90(x, 1),
}


def near(found: np.ndarray, wanted: np.ndarray) -> bool:
    """But for the codec: a few levels in most places, more at edges, where colour is stored at half the size."""
    return found.shape == wanted.shape and float(np.abs(found.astype(int) - wanted).mean()) < 12


def test_a_mirrored_video_is_mirrored():
    plain, mirrored = Video.load(FAULTS / "mp4_named.gif"), Video.load(FAULTS / "hflip.mp4")
    assert np.array_equal(mirrored.frames, plain.frames[:, :, ::-1])


@pytest.mark.parametrize(("matrix", "seen"), ORIENTATIONS.items())
def test_all_orientations_of_a_video(matrix, seen, tmp_path):
    """The matrix in the header of the track (`tkhd`) replaced; of fixed point, 16 bits each side."""
    data = bytearray(written(tmp_path / "v.mp4", np.repeat(CORNERS[None], 3, 0)).read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    for place, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[at + 4 * place : at + 4 * place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    (tmp_path / "turned.mp4").write_bytes(data)
    video, size = Video.load(tmp_path / "turned.mp4"), probe(tmp_path / "turned.mp4")
    assert near(video.frames[0], seen(CORNERS)) and (size.height, size.width) == video.frames.shape[1:3]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_of_a_photograph(orientation, tmp_path):
    """Exif's eight, in its own order, against Pillow."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(CORNERS).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg")))
    assert near(Video.load(tmp_path / "photo.jpg").frames[0], wanted)


# ---- depth, transparency, colours


def test_sixteen_bits(tmp_path):
    grey = Video.load(FAULTS / "gray16.png").frames[0]
    stored = np.asarray(Image.open(FAULTS / "gray16.png")).astype(float)
    assert np.abs(grey - stored[..., None] * 255 / 65535).max() <= 0.5 + 1e-6

    deep = np.zeros((16, 32, 3), np.uint16)
    deep[..., 0], deep[..., 1], deep[..., 2] = 0x8000, np.linspace(0, 65535, 32), 65535
    with av.open(str(tmp_path / "deep.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 32, "rgb48be"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(deep, format="rgb48be")))
        container.mux(stream.encode(None))
    found = Video.load(tmp_path / "deep.png").frames[0]
    assert np.abs(found - deep * (255 / 65535)).max() <= 1  # Pillow cuts the low byte off


def test_what_is_transparent_is_white(tmp_path):
    """Hidden green does not show, and half of red is pink, in every kind of file that can be transparent."""
    pixels = np.full((32, 32, 4), (0, 255, 0, 0), np.uint8)
    pixels[:16, :, :] = (255, 0, 0, 255)
    half = pixels.copy()
    half[24:] = (255, 0, 0, 128)
    wanted = np.full((32, 32, 3), 255, np.uint8)
    wanted[:16] = (255, 0, 0)
    first, second = Image.fromarray(pixels), Image.fromarray(pixels[:, ::-1].copy())
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], duration=100, disposal=2)
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], duration=100, lossless=True, exact=True)
    first.save(tmp_path / "a.png")
    first.quantize(4).save(tmp_path / "palette.png")
    written(tmp_path / "a.mkv", [pixels] * 2, "ffv1", "bgra")
    written(tmp_path / "a.mov", [pixels] * 2, "qtrle", "argb")
    for name in ("a.gif", "a.webp", "a.png", "palette.png", "a.mkv", "a.mov"):
        assert np.abs(Video.load(tmp_path / name).frames[0].astype(int) - wanted).max() <= 1, name

    # VP9 stores colour at half the size and with loss: away from the edge.
    webm = Video.load(written(tmp_path / "a.webm", [pixels] * 2, "libvpx-vp9", "yuva420p")).frames[0].astype(int)
    assert np.abs(webm[:12] - wanted[:12]).max() <= 6 and np.abs(webm[20:] - wanted[20:]).max() <= 6
    Image.fromarray(half).save(tmp_path / "half.png")
    assert Video.load(tmp_path / "half.png").frames[0, 28, 0].tolist() == [255, 127, 127]


@pytest.mark.parametrize(("lines", "matrix"), [(64, 601), (720, 709)])
def test_colours_where_a_file_does_not_say(lines, matrix, tmp_path):
    """As players take it: BT.709 from 720 lines on. A saturated red, by the standards' own weights."""
    red_weight, blue_weight = {601: (0.299, 0.114), 709: (0.2126, 0.0722)}[matrix]
    red, green, blue = 200 / 255, 40 / 255, 60 / 255
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    planes = np.empty((lines * 3 // 2, 64), np.uint8)
    planes[:lines] = round(16 + 219 * luma)
    planes[lines : lines * 5 // 4] = round(128 + 112 * (blue - luma) / (1 - blue_weight))
    planes[lines * 5 // 4 :] = round(128 + 112 * (red - luma) / (1 - red_weight))
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = lines, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))
    found = Video.load(tmp_path / "red.mp4").frames[0, 8, 8].astype(int)
    assert np.abs(found - (200, 40, 60)).max() <= 3  # of what whole levels of the planes can tell


# ---- kinds and reasons


def test_files_are_known_by_what_they_hold(tmp_path):
    assert Video.load(FAULTS / "mp4_named.gif").frames.shape == (16, 64, 96, 3)
    shutil.copy(FAULTS / "vardur.gif", tmp_path / "gif_named.mp4")
    assert len(Video.load(tmp_path / "gif_named.mp4")) == 15


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".m4v", "libx264"), (".ts", "mpeg2video"), (".mpg", "mpeg2video"), (".wmv", "wmv2"), (".flv", "flv1")],
)
def test_kinds_that_clips_come_in(suffix, codec, tmp_path):
    name = {"flv1": "flv"}.get(codec, codec)
    frames = np.linspace(20, 230, 25).astype(np.uint8)[:, None, None, None] * np.ones((1, 32, 48, 3), np.uint8)
    video = Video.load(written(tmp_path / f"v{suffix}", frames, name, base=25))
    assert suffix in VIDEO_SUFFIXES and len(video) == 25 and video.fps == pytest.approx(25, rel=0.01)
    assert np.abs(video.frames.mean((1, 2, 3)) - np.linspace(20, 230, 25)).max() < 6


def test_true_reasons(tmp_path):
    with pytest.raises(AnimaticError, match=r"audioonly\.mp4: has no video, only audio"):
        Video.load(FAULTS / "audioonly.mp4")
    whole = (FAULTS / "anamorphic.mp4").read_bytes()
    bad = {
        "cut.mp4": (whole[: len(whole) // 2], "damaged, or cut off before its index, the moov atom"),
        "empty.mp4": (b"", "the file is empty"),
        "noise.mp4": (b"nonsense" * 99, "damaged, or neither video nor picture"),
        "text.gif": (b"a text", "damaged, or neither video nor picture"),
        "words.txt": (b"a text\n" * 99, "has no video, only text"),
    }
    for name, (data, reason) in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AnimaticError, match=reason) as raised:
            Video.load(tmp_path / name)
        assert "Errno" not in str(raised.value) and str(raised.value).startswith(str(tmp_path / name))
    with pytest.raises(AnimaticError, match="No such file"):
        Video.load(tmp_path / "none.mp4")
    with pytest.raises(AnimaticError, match="directory"):
        Video.load(tmp_path)


def test_what_is_left_of_a_cut_animation_is_read(tmp_path):
    """Of the video kinds too: `test_finish.test_files_of_all_kinds`."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), np.uint8)
    for suffix in (".gif", ".png"):  # of a WebP that is shorter than it says Pillow reads nothing
        whole = Video(noise).save(tmp_path / f"whole{suffix}", scale=1).read_bytes()
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole[: len(whole) * 2 // 3])
        video = Video.load(cut)
        assert 2 <= len(video) < 6  # a GIF does not say of how many
        assert video.info["damage"].startswith(f"{cut}: {len(video)} of ")


def test_a_video_too_large_is_refused_before_it_is_decoded(monkeypatch):
    """Of its metadata and one frame; nothing is put into memory."""
    path, decoded = FAULTS / "audio.mp4", []
    monkeypatch.setattr("animatic.media.ffmpeg.FrameBuffer", lambda *_: decoded.append(1))
    message = r"audio\.mp4: 16 frames of 96 x 64 need 0\.3 MB, 0\.2 MB are free; want a shorter or smaller video"
    with pytest.raises(AnimaticError, match=message):
        Video.load(path, most=200_000)
    assert not decoded
    with pytest.raises(AnimaticError, match="15 frames of 48 x 32"):  # as long as it is shown
        Video.load(FAULTS / "vardur.gif", most=6 * 32 * 48 * 3)


@pytest.mark.parametrize("fps", [59.94005994005994, 120.0, 144.0, 240.0, 300.0, 480.0, 960.0])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_fast_videos_of_ours_are_read_as_they_were_written(tmp_path, fps, suffix):
    """Matroska rounds times to milliseconds, which at 240 frames a second is a quarter of a frame."""
    video = Video(np.concatenate([greys(8)] * 50), fps)
    again = Video.load(video.save(tmp_path / f"fast{suffix}", scale=1))
    assert again.fps == fps and order(again) == order(video) and "damage" not in again.info
    found = probe(tmp_path / f"fast{suffix}")
    assert (found.frames, found.fps) == (400, fps)


def test_a_sound_track_that_is_cut_off_to_nothing_is_none(tmp_path):
    """A file whose header names a track that the rest does not hold can be finished and written all the same."""
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "bgr0"
        container.add_stream("pcm_s16le", rate=44100)
        for pixels in greys(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode(None))
    video = Video.load(tmp_path / "v.mkv")
    assert video.sound is None and order(video) == list(range(8))
    assert order(Video.load(video.save(tmp_path / "again.mkv", scale=1))) == list(range(8))
