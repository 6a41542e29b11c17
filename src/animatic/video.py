"""A video: frames with metadata and sound. Boxes and attention maps drawn on it, videos joined."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .errors import AnimaticError
from .files import replacing
from .media.encoding import LOSSLESS, WRITERS, format_losses
from .media.reading import probe, read, streamed
from .media.sound import Sound
from .scene import Box, Scene

if TYPE_CHECKING:
    from torch import Tensor

    from .media.frame_stream import FrameSource
    from .request import GenerationRequest

FPS_LIMIT = 1000  # frames per second of a video are fewer
SMALL = 256  # videos below this are enlarged by whole pixels when written: players blur them
PALETTE = ("#e6194b", "#4363d8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def check_rate(fps: float) -> None:
    """Raise where no video has so many frames per second."""
    if not 0 < fps < FPS_LIMIT:
        raise AnimaticError(f"fps is {fps}; want more than 0, less than {FPS_LIMIT}")


@dataclass(frozen=True, eq=False)
class Video:
    """Frames uint8 `[frame, height, width, 3]`, frames per second, metadata (JSON), sound.

    `info` is the record of how it was made, as in its files. Raises `AnimaticError` where frames have another type or
    shape, or the rate is out of range.
    """

    frames: np.ndarray
    fps: float = 8.0
    info: Mapping[str, Any] = field(default_factory=dict)
    sound: Sound | None = None

    def __post_init__(self) -> None:
        frames = self.frames
        shape = frames.shape
        if frames.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
            raise AnimaticError(f"frames are {frames.dtype} {list(shape)}; want uint8 [frame, height, width, 3]")
        check_rate(self.fps)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Image.Image]:
        """Its frames as Pillow's images."""
        return map(Image.fromarray, self.frames)

    def take(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The frames of these numbers, which may repeat: uint8 `[number, height, width, 3]`."""
        return self.frames[np.asarray(numbers, int)]

    def to_pil(self) -> list[Image.Image]:
        """All frames as Pillow's images."""
        return list(self)

    def to_tensor(self) -> Tensor:
        """The frames as diffusers' `output_type="pt"`: float32 `[frame, 3, height, width]` in 0..1."""
        from torch import from_numpy  # late: reading and drawing need no torch

        return from_numpy(self.frames).movedim(-1, 1).float() / 255

    @property
    def digest(self) -> str:
        """A hash of its frames, by which an edit of them names them."""
        return hashlib.sha256(self.frames.tobytes()).hexdigest()[:16]

    @property
    def request(self) -> GenerationRequest:
        """What makes it again. Raises `AnimaticError` where it was not made by animatic."""
        from .request import GenerationRequest

        return GenerationRequest.of(self.info, "the video")

    def enlarged(self, scale: int) -> Video:
        """Every pixel as a square of `scale` pixels."""
        if scale == 1:
            return self
        wider = self.frames.repeat(scale, 2)
        return replace(self, frames=wider.repeat(scale, 1))

    def save(self, path: str | Path, scale: int | None = None) -> Path:
        """Write .mp4, .gif, .webp, .png (animated where needed), or without loss .mkv (FFV1) or .npz, atomically.

        `scale` enlarges by whole pixels; None brings small videos to 256, but for what is written without loss.
        """
        path = Path(path)
        if path.suffix not in WRITERS:
            raise AnimaticError(f"{path}: unknown kind of file; want {', '.join(WRITERS)}")

        # Under another name first: a file is whole or not there.
        with replacing(path) as temporary:
            self._write(temporary, path.suffix, scale)
        return path

    def encoded(self, suffix: str, scale: int | None = None) -> bytes:
        """The bytes of a file of this kind (".mp4")."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"video{suffix}"
            self._write(path, suffix, scale)
            return path.read_bytes()

    def _write(self, path: Path, suffix: str, scale: int | None) -> None:
        if scale is None:
            longer = max(self.frames.shape[1:3])
            scale = 1 if suffix in LOSSLESS else max(1, SMALL // longer)
        WRITERS[suffix](path, self.enlarged(scale).frames, self.fps, self.info, self.sound)

    def losses(self, suffix: str) -> list[str]:
        """What a file of this kind (".gif") cannot hold of this video, such as its sound: a line each."""
        return format_losses(suffix, len(self), self.fps, self.sound)

    @staticmethod
    def load(path: str | Path, most: int = 0) -> Video:
        """Read a video or picture of any kind that FFmpeg, Pillow or NumPy knows, whatever its name: `reading.read`.

        Raises `AnimaticError` where it cannot be read, or needs more than `most` bytes (0: what is free).
        """
        return Video(*read(Path(path), most))

    @staticmethod
    def source(path: str | Path, held: object = None) -> FrameSource:
        """What takes frames out of a file: it is read whole, or, where that takes much memory, as a stream.

        `held` is kept as long as the stream is. Raises `AnimaticError` where the file cannot be read.
        """
        return streamed(Path(path), held) or Video.load(path)


def read_info(path: str | Path) -> dict[str, Any]:
    """The metadata of how a file was made. Raises `AnimaticError` where it has none."""
    info = probe(Path(path)).info
    if not info:
        raise AnimaticError(f"{path}: says nothing of how it was made; want a file that animatic wrote")
    return info


def parse_size(size: str) -> tuple[int, int] | None:
    """ "96x64" as (width, height); None of an empty text. Raises `AnimaticError` where it is neither."""
    if not size:
        return None

    # Five digits are enough, and keep the numbers small.
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size.lower())
    if not match:
        raise AnimaticError(f"size is {size[:40]!r}; want WIDTHxHEIGHT, such as 64x64")
    return int(match[1]), int(match[2])


def as_generated(video: Video, size: tuple[int, int]) -> Video:
    """A video that animatic enlarged when it wrote the file, at the `size` (width, height) it was generated in."""
    height, width = video.frames.shape[1:3]
    scale = width // size[0]
    if not video.info or scale < 2 or (width, height) != (scale * size[0], scale * size[1]):
        return video
    squares = video.frames.reshape(len(video), size[1], scale, size[0], scale, 3)
    return replace(video, frames=(squares.mean((2, 4)) + 0.5).astype(np.uint8))


def draw_boxes(video: Video, scene: Scene, scale: int = 1) -> Video:
    """The boxes of a scene, with their phrases, on the frames enlarged by `scale`."""
    video = video.enlarged(scale)
    tracks = scene.at(len(video)).tracks

    # Each track keeps its colour in all frames.
    pages = []
    for f, pixels in enumerate(video.frames):
        page = Image.fromarray(pixels)
        for i, track in enumerate(tracks):
            box = track.boxes[f]
            if box is not None:
                _outline(page, box, track.phrase, PALETTE[i % len(PALETTE)])
        pages.append(np.asarray(page))
    return replace(video, frames=np.stack(pages))


def _outline(page: Image.Image, box: Box, phrase: str, colour: str) -> None:
    # The last row and column belong to the frame, hence - 1.
    draw = ImageDraw.Draw(page)
    width, height = page.size
    shorter = min(page.size)
    x0, x1 = (x * (width - 1) for x in box[0::2])
    y0, y1 = (y * (height - 1) for y in box[1::2])
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=max(1, shorter // 80))

    # The label stands above the box where there is room, else inside it.
    font = ImageFont.load_default(max(9, shorter // 14))
    left, top, right, bottom = draw.textbbox((0, 0), phrase, font=font)
    label_width = right - left + 4
    label_height = bottom - top + 4
    x = min(x0, max(0, width - label_width))
    y = y0 - label_height if y0 >= label_height else y0
    draw.rectangle((x, y, x + label_width, y + label_height), fill=colour)
    draw.text((x + 2 - left, y + 2 - top), phrase, font=font, fill="white")


def sketch(scene: Scene, frames: int, height: int, width: int, fps: float = 0.0) -> Video:
    """The boxes of a scene alone, on light grey, at `fps` frames a second (0: `frames` in its seconds)."""
    blank = np.full((frames, height, width, 3), 238, np.uint8)

    # A still has no seconds: any rate will do.
    if not fps:
        fps = frames / scene.seconds if scene.seconds else 8.0
    return draw_boxes(Video(blank, fps), scene)


def attention_overlay(video: Video, attention: np.ndarray, label: str = "", scale: int = 1) -> Video:
    """An attention map `[time, height, width]` in 0..1 over the frames enlarged by `scale`: 0 is dimmed, 1 is red."""
    video = video.enlarged(scale)
    height, width = video.frames.shape[1:3]
    font = ImageFont.load_default(max(9, height // 14))
    red = np.array([255, 60, 20])

    # The attention of the nearest latent frame.
    places = np.linspace(0, len(attention) - 1, len(video)).round().astype(int)
    frames = []
    for pixels, frame_map in zip(video.frames, attention[places], strict=True):
        small = Image.fromarray((frame_map * 255 + 0.5).astype(np.uint8))
        large = small.resize((width, height), Image.Resampling.BILINEAR)
        weight = np.asarray(large, np.float32)[..., None] / 255

        # Dark where there is no attention, red where it is high.
        dimmed = pixels * (0.35 + 0.3 * weight)
        mixed = dimmed + red * 0.6 * weight**2
        picture = Image.fromarray(mixed.clip(0, 255).astype(np.uint8))
        ImageDraw.Draw(picture).text((3, 2), label, font=font, fill="white")
        frames.append(np.asarray(picture))
    return replace(video, frames=np.stack(frames))


def side_by_side(videos: Sequence[Video]) -> Video:
    """Videos of one size and length, left to right."""
    return replace(videos[0], frames=np.concatenate([v.frames for v in videos], 2))


def joined(videos: Sequence[Video]) -> Video:
    """Videos of one size and frame rate, one after another. Raises `AnimaticError` where their rates differ."""
    first = videos[0]
    others = [video.fps for video in videos if video.fps != first.fps]
    if others:
        raise AnimaticError(f"videos of {first.fps:g} and {min(others):g} frames a second; want one rate")

    # The first video's metadata stand for all.
    frames = np.concatenate([video.frames for video in videos])
    return Video(frames, first.fps, first.info)
