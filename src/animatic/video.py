"""Frames and files: videos written with what they were made from inside, boxes drawn, contact sheets."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from .errors import AnimaticError
from .scene import Scene, write_atomically

KEY = "animatic"  # of the metadata that says what a file was made from
SMALL = 256  # videos below this are enlarged by whole pixels when written: players blur them
PALETTE = ("#e6194b", "#4363d8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


@dataclass(frozen=True, eq=False)
class Video:
    """Frames uint8 `[frame, height, width, 3]`, frames per second, and what they were made from (JSON)."""

    frames: np.ndarray
    fps: float = 8.0
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
            raise AnimaticError(f"frames are {self.frames.dtype} {list(shape)}; want uint8 [frame, height, width, 3]")
        if not 0 < self.fps < 1000:
            raise AnimaticError(f"fps is {self.fps}; want more than 0, less than 1000")

    def __len__(self) -> int:
        return len(self.frames)

    def enlarged(self, scale: int) -> Video:
        """Every pixel as a square of `scale` pixels."""
        return replace(self, frames=self.frames.repeat(scale, 1).repeat(scale, 2))

    def save(self, path: str | Path, scale: int | None = None) -> Path:
        """Write .mp4, .mkv (nothing lost), .gif, .webp or .png, atomically, animated where needed. See `encoded`."""
        path = Path(path)
        if path.suffix not in WRITERS:
            raise AnimaticError(f"{path}: unknown kind of file; want {', '.join(WRITERS)}")
        write_atomically(path, self.encoded(path.suffix, scale))
        return path

    def encoded(self, suffix: str, scale: int | None = None) -> bytes:
        """A file of this kind (".mp4"). `scale` enlarges by whole pixels; None brings small videos to 256."""
        scale = max(1, SMALL // max(self.frames.shape[1:3])) if scale is None else scale
        return WRITERS[suffix](self.enlarged(scale), suffix)

    @staticmethod
    def load(path: str | Path) -> Video:
        """Read a video or picture of any kind that FFmpeg or Pillow knows."""
        path = Path(path)
        frames, fps, info = _read_pillow(path) if path.suffix in (".gif", ".webp", ".png") else _read_av(path)
        return Video(frames, fps, info)


def read_info(path: str | Path) -> dict[str, Any]:
    """What a file was made from. Raises where it does not say."""
    info = dict(Video.load(path).info)
    if not info:
        raise AnimaticError(f"{path}: says nothing of how it was made; want a file that animatic wrote")
    return info


def draw_boxes(video: Video, scene: Scene, scale: int = 1) -> Video:
    """The boxes of a scene, with their phrases, on the frames enlarged by `scale`."""
    video = video.enlarged(scale)
    frames = []
    tracks = scene.at(len(video)).tracks
    for f, pixels in enumerate(video.frames):
        picture = Image.fromarray(pixels)
        for i, track in enumerate(tracks):
            if (box := track.boxes[f]) is not None:
                _outline(ImageDraw.Draw(picture), picture.size, box, track.phrase, PALETTE[i % len(PALETTE)])
        frames.append(np.asarray(picture))
    return replace(video, frames=np.stack(frames))


def _outline(draw: ImageDraw.ImageDraw, size: tuple[int, int], box: Any, phrase: str, colour: str) -> None:
    width, height = size
    corners = (box[0] * (width - 1), box[1] * (height - 1), box[2] * (width - 1), box[3] * (height - 1))
    draw.rectangle(corners, outline=colour, width=max(1, min(size) // 80))
    font = ImageFont.load_default(max(9, min(size) // 14))
    left, top, right, bottom = draw.textbbox((0, 0), phrase, font=font)
    wide, high = right - left + 4, bottom - top + 4
    x, y = min(max(0, corners[0]), max(0, width - wide)), corners[1] - high if corners[1] >= high else corners[1]
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    draw.text((x + 2 - left, y + 2 - top), phrase, font=font, fill="white")


def sketch(scene: Scene, frames: int, height: int, width: int) -> Video:
    """The boxes of a scene alone, on light grey."""
    blank = np.full((frames, height, width, 3), 238, np.uint8)
    return draw_boxes(Video(blank, frames / scene.seconds if scene.seconds else 8.0), scene)


def heat_map(video: Video, heat: np.ndarray, label: str = "", scale: int = 1) -> Video:
    """A map `[time, height, width]` in 0..1 over the frames enlarged by `scale`: cold is dimmed, hot is red."""
    video = video.enlarged(scale)
    height, width = video.frames.shape[1:3]
    heat = heat[np.linspace(0, len(heat) - 1, len(video)).round().astype(int)]
    frames = []
    for pixels, part in zip(video.frames, heat, strict=True):
        small = Image.fromarray((part * 255 + 0.5).astype(np.uint8))
        hot = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float32)[..., None] / 255
        mixed = pixels * (0.35 + 0.3 * hot) + np.array([255, 60, 20]) * 0.6 * hot**2
        picture = Image.fromarray(mixed.clip(0, 255).astype(np.uint8))
        ImageDraw.Draw(picture).text((3, 2), label, font=ImageFont.load_default(max(9, height // 14)), fill="white")
        frames.append(np.asarray(picture))
    return replace(video, frames=np.stack(frames))


def side_by_side(videos: Sequence[Video]) -> Video:
    """Videos of one size and length, left to right."""
    return replace(videos[0], frames=np.concatenate([v.frames for v in videos], 2))


def joined(videos: Sequence[Video]) -> Video:
    """Videos of one size after another, at the frame rate of the first."""
    return Video(np.concatenate([v.frames for v in videos]), videos[0].fps, videos[0].info)


def contact_sheet(video: Video, scene: Scene | None = None, columns: int = 8, title: str = "") -> Image.Image:
    """All frames on one page in reading order, numbered, the scene's boxes drawn on a second row each."""
    scale = max(1, -(-128 // max(video.frames.shape[1:3])))
    rows = [video.enlarged(scale).frames]
    if scene is not None and scene.tracks:
        rows.append(draw_boxes(video, scene, scale).frames)
    count, (high, wide) = len(video), rows[0].shape[1:3]
    columns = min(columns, count)
    margin, gap, line = 16, 6, 18
    font, bold = ImageFont.load_default(12), ImageFont.load_default(16)
    page_width = max(2 * margin + columns * wide + (columns - 1) * gap, 360)
    words = _wrapped(title, bold, page_width - 2 * margin)
    group = line + len(rows) * (high + gap)
    head = margin + 24 * len(words)
    page = Image.new("RGB", (page_width, head + -(-count // columns) * group + margin), "white")
    draw = ImageDraw.Draw(page)
    for i, words_line in enumerate(words):
        draw.text((margin, margin // 2 + 24 * i), words_line, fill="#222222", font=bold)
    for f in range(count):
        x, y = margin + f % columns * (wide + gap), head + f // columns * group
        draw.text((x, y), f"{f + 1}  {f / video.fps:.2f} s", fill="#777777", font=font)
        for r, frames in enumerate(rows):
            page.paste(Image.fromarray(frames[f]), (x, y + line + r * (high + gap)))
    return page


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _mp4(video: Video, _: str) -> bytes:
    """H.264 that every browser plays; one thread, because x264's bytes depend on their number."""
    import av

    height, width = video.frames.shape[1:3]
    even = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    frames = np.pad(video.frames, even, mode="edge")  # 4:2:0 colour wants even sizes
    told = json.dumps(dict(video.info))
    with tempfile.TemporaryDirectory() as folder:  # moving the index to the front (faststart) wants a real file
        path = Path(folder) / "video.mp4"
        with av.open(path, "w", options={"movflags": "use_metadata_tags+faststart"}) as container:
            container.metadata.update({KEY: told, "title": str(video.info.get("prompt", "")), "comment": told})
            stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1000))
            stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
            stream.thread_count = 1
            stream.options = {"crf": "12", "preset": "medium"}
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        return path.read_bytes()


def _pillow(video: Video, suffix: str) -> bytes:
    pictures = [Image.fromarray(f) for f in video.frames]
    told, buffer = json.dumps(dict(video.info)), io.BytesIO()
    timing: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "loop": 0} if len(pictures) > 1 else {}
    if timing:
        timing["duration"] = round(1000 / video.fps)
    match suffix:
        case ".gif":
            pictures[0].save(buffer, "GIF", comment=told.encode(), optimize=False, **timing)
        case ".webp":
            pictures[0].save(buffer, "WEBP", lossless=True, xmp=told.encode(), **timing)
        case _:
            text = PngImagePlugin.PngInfo()
            text.add_itxt(KEY, told)
            pictures[0].save(buffer, "PNG", pnginfo=text, **timing)
    return buffer.getvalue()


def _mkv(video: Video, _: str) -> bytes:
    """FFV1 in RGB: nothing lost."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        container.metadata["comment"] = json.dumps(dict(video.info))
        stream = container.add_stream("ffv1", rate=Fraction(video.fps).limit_denominator(1000))
        stream.height, stream.width = video.frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for pixels in video.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


WRITERS: dict[str, Callable[[Video, str], bytes]] = {
    ".mp4": _mp4,
    ".mkv": _mkv,
    ".gif": _pillow,
    ".webp": _pillow,
    ".png": _pillow,
}


def _read_pillow(path: Path) -> tuple[np.ndarray, float, dict[str, Any]]:
    try:
        with Image.open(path) as picture:
            info = dict(picture.info)
            count, duration = getattr(picture, "n_frames", 1), float(info.get("duration", 0))
            frames = []
            for f in range(count):
                picture.seek(f)
                frames.append(np.asarray(picture.convert("RGB")))
                duration = duration or float(picture.info.get("duration", 0))
    except (OSError, SyntaxError, ValueError) as error:
        raise AnimaticError(f"{path}: cannot be read ({error})") from None
    told = info.get(KEY) or info.get("comment") or info.get("xmp")
    return np.stack(frames), 1000 / duration if duration else 8.0, _told(told)


def _read_av(path: Path) -> tuple[np.ndarray, float, dict[str, Any]]:
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or 8)
            told = {name.lower(): value for name, value in container.metadata.items()}
            info = _told(told.get(KEY) or told.get("comment"))
            frames, times, broken = _decoded(container, stream)
            seconds = (container.duration or 0) / av.time_base
            expected = stream.frames or round(seconds * fps)
    except (OSError, IndexError, av.FFmpegError) as error:
        raise AnimaticError(f"{path}: cannot be read ({error})") from None
    if not frames:
        raise AnimaticError(f"{path}: has no frames")
    if broken or len(frames) < 0.9 * expected:
        info = {**info, "damage": f"{path}: {len(frames)} of {max(expected, len(frames))} frames could be read"}
    return np.stack(steady(frames, times, fps)), fps, info


def _decoded(container: Any, stream: Any) -> tuple[list[np.ndarray], list[float], bool]:
    """Frames upright, their times, and whether the file broke off; without a single frame the error is passed on."""
    import av

    frames: list[np.ndarray] = []
    times: list[float] = []
    try:
        for frame in container.decode(stream):
            turns = round(frame.rotation / 90) % 4
            frames.append(np.rot90(frame.to_ndarray(format="rgb24"), turns))
            times.append(len(times) / float(stream.average_rate or 8) if frame.time is None else frame.time)
    except (OSError, av.FFmpegError):
        if not frames:
            raise
        return frames, times, True
    return frames, times, False


def steady(frames: list[np.ndarray], times: list[float], fps: float) -> list[np.ndarray]:
    """Frames on an even beat: at each tick the last that has begun. What is even already stays as it is."""
    gaps = np.diff(times)
    if len(frames) < 3 or np.ptp(gaps) < 0.5 / fps:
        return frames
    count = max(1, round((times[-1] - times[0]) * fps) + 1)
    ticks = times[0] + np.arange(count) / fps
    return [frames[int(np.searchsorted(times, t + 1e-6, "right")) - 1] for t in ticks]


def _told(text: str | bytes | None) -> dict[str, Any]:
    """The JSON we wrote, or nothing where somebody else wrote the comment."""
    try:
        data = json.loads(text or "{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return data if isinstance(data, dict) else {}
