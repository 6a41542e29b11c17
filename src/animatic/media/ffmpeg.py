"""Video files read by FFmpeg: rotated upright, with square pixels, in the file's colours and timing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Interpolation

from ..errors import AnimaticError, warn
from . import sound
from .ffv1 import damaged_frames
from .formats import HD_LINES, embedded_info
from .frame_buffer import RATE, Decoded, FrameBuffer, Probe, add_damage, at_constant_rate, check_memory, on_white
from .timing import ConstantRate, constant_rate

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
UNSPECIFIED, BT709, BT601 = 2, 1, 5  # colour matrices as ITU-T H.273 numbers them
ROUNDING = 5e-7  # of a rate
COMPLETE = 0.9  # of the stated duration: a file with less was cut off
RATE_TOLERANCE = 0.01  # relative difference of average and estimated rate of a video with even timing, at most
TRANSPOSED = 2  # of the three numbers of an orientation
QUARTERS = ((1, 1, False), (1, -1, True), (-1, -1, False), (-1, 1, True))  # orientations, counterclockwise


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """(container, its first video stream that is no cover picture). Raises `AnimaticError` with the reason."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            streams = container.streams
            moving = [stream for stream in streams.video if not stream.disposition & Disposition.attached_pic]
            if not moving or container.format.name == "tty":  # which draws any text as a terminal would
                others = {stream.type for stream in streams} - {"video"}
                kinds = ", ".join(sorted(others)) or "text or a cover picture"
                raise AnimaticError(f"{path}: has no video, only {kinds}")
            if moving[0].codec_context is None:
                raise AnimaticError(f"{path}: its video is in a format that FFmpeg does not know, or is damaged")
            yield container, moving[0]
    except (OSError, av.FFmpegError) as error:
        raise AnimaticError(f"{path}: cannot be read ({_reason(path, error)})") from None


def probe(path: Path) -> Probe:
    """The size of a video from its metadata and first frame; where its timing is uneven, also its packets' times."""
    with opened(path) as (container, stream):
        check_memory(path, 1, stream.codec_context.height, stream.codec_context.width)
        first = next(_frames(container, stream), None)
        if first is None:
            raise AnimaticError(f"{path}: has no frames")
        width, height = _square(first, stream)
        if _orientation(first)[TRANSPOSED]:
            width, height = height, width

        rates = _rates(stream)
        count = _expected(container, stream)
        info = _info(container)
        has_sound = bool(container.streams.audio)

    # Where the stated rates disagree, the times of the packets decide.
    fps = rates[0]
    difference = max(rates) - min(rates)
    is_uneven = len(rates) > 1 and difference > RATE_TOLERANCE * max(rates)
    plan = _packet_rate(path, rates) if is_uneven else None
    if plan:
        fps = plan.fps
        count = plan.count
    return Probe(count, height, width, fps, info, has_sound)


@dataclass(frozen=True)
class Timing:
    """When each frame of a file is shown, in seconds, and the constant rate for that; None of a single frame."""

    times: list[float]
    fps: float
    rate: ConstantRate | None


def read(path: Path, most: int = 0) -> Decoded:
    """All frames of a video, at a constant rate; what cannot be read is noted in `info["damage"]`."""
    plan = probe(path)
    check_memory(path, plan.frames, plan.height, plan.width, most)

    # Every frame is decoded into its place in the array: there is no second copy of any.
    buffer = FrameBuffer(path, plan.frames, plan.height, plan.width, most)
    timing = timing_of(path, plan.info, lambda frame, size: buffer.append(upright(frame, size)))

    # Sound begins with the first frame that was read.
    track = _sound(path, timing.times[0], plan.info)
    if timing.rate is None:
        return Decoded(buffer.trimmed(), timing.fps, plan.info, track)
    frames = at_constant_rate(buffer, timing.times, timing.rate, plan.info, path)
    return Decoded(frames, timing.fps, plan.info, track)


def timing_of(path: Path, info: dict[str, Any], use: Callable[[Any, tuple[int, int]], None]) -> Timing:
    """The timing of a video, whose frames are decoded one by one and given to `use(frame, size)`, see `upright`.

    What cannot be read is noted in `info["damage"]`.
    """
    times: list[float] = []
    last = 0.0  # duration of the last frame
    with opened(path) as (container, stream):
        rates = _rates(stream)
        seconds = _seconds(container, stream)
        clock = float(stream.time_base or 0)
        try:
            for frame, size in sized_frames(container, stream):
                use(frame, size)
                evenly = len(times) / rates[0]
                times.append(evenly if frame.time is None else frame.time)
                has_duration = frame.duration and frame.time_base
                last = float(frame.duration * frame.time_base) if has_duration else 0.0
        except (OSError, av.FFmpegError) as error:
            if not times:
                raise
            reason = _reason(path, error)
            add_damage(info, f"{path}: is damaged after {len(times)} frames ({reason})")

    # A file that was cut off often ends without an error: it shows by its stated duration.
    last_shown = last or 1 / rates[0]
    shown = times[-1] - times[0] + last_shown
    if shown < COMPLETE * seconds:
        whole = round(len(times) * seconds / shown)
        add_damage(info, f"{path}: {len(times)} of about {whole} frames could be read")

    # A frame whose checksum is wrong is decoded to other pixels without an error.
    with opened(path) as (container, stream):
        if wrong := damaged_frames(container, stream):
            add_damage(info, f"{path}: {len(wrong)} of {len(times)} frames are damaged, the first is {wrong[0]}")
    if len(times) == 1:
        return Timing(times, rates[0], None)
    rate = constant_rate(times, last, rates, clock)
    return Timing(times, rate.fps, rate)


def sized_frames(container: Any, stream: Any) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Decoded frames, and the size (width, height) that all have before rotation: later ones are brought to it."""
    size: tuple[int, int] | None = None
    for frame in _frames(container, stream):
        size = size or _square(frame, stream)
        yield frame, size


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames; transparent VP8 and VP9 by libvpx, for FFmpeg's own decoders drop the alpha channel."""
    metadata = {name.lower(): value for name, value in stream.metadata.items()}
    clear = metadata.get("alpha_mode") == "1"
    decoder = ALPHA_DECODERS.get(stream.codec_context.name) if clear else None
    if decoder is None:
        yield from container.decode(stream)
        return
    context: Any = av.CodecContext.create(decoder, "r")
    for packet in container.demux(stream):
        yield from context.decode(packet if packet.size else None)


def _rates(stream: Any) -> list[float]:
    """Frames per second: the average first, then FFmpeg's other estimates."""
    rates = [_exact(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
    if not rates:
        warn(f"{stream.container.name}: does not say how many frames a second it has; taken for {RATE:g}")
    return rates or [RATE]


def _exact(rate: Fraction) -> float:
    """Broadcast's 24, 30 and 60 thousand 1001sts, which Matroska rounds to nanoseconds."""
    # 23.976, 29.97 and 59.94 frames a second.
    thousands = round(rate * 1001 / 1000)
    broadcast = Fraction(1000 * thousands, 1001)
    is_broadcast = abs(rate - broadcast) < ROUNDING * rate
    return float(broadcast if is_broadcast else rate)


def _expected(container: Any, stream: Any) -> int:
    """The stated number of frames, else an estimate by the duration, at least 1."""
    if stream.frames:
        return stream.frames
    seconds = _seconds(container, stream)
    rate = _rates(stream)[0]
    return max(1, round(seconds * rate))


def _seconds(container: Any, stream: Any) -> float:
    """The stated duration of the video stream in seconds; 0 where there is none."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)

    # Matroska's is a clock in its metadata.
    metadata = {name.lower(): value for name, value in stream.metadata.items()}
    clock = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", metadata.get("duration", ""))
    if clock:
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    return (container.duration or 0) / av.time_base


def _packet_rate(path: Path, rates: list[float]) -> ConstantRate | None:
    """The constant rate for an uneven video by the times of its packets, nothing decoded; None of fewer than two."""
    with opened(path) as (container, stream):
        packets = []
        for packet in container.demux(stream):
            is_shown = packet.pts is not None and not packet.is_discard
            if is_shown and packet.time_base:
                packets.append(packet)
    if len(packets) < 2:
        return None

    # Packets are stored in the order of decoding, not of showing.
    packets.sort(key=lambda packet: packet.pts)
    times = [float(packet.pts * packet.time_base) for packet in packets]

    final = packets[-1]
    duration = float((final.duration or 0) * final.time_base)
    clock = float(final.time_base)
    return constant_rate(times, duration, rates, clock)


def _info(container: Any) -> dict[str, Any]:
    return embedded_info({name.lower(): value for name, value in container.metadata.items()})


def _sound(path: Path, first_frame: float, info: dict[str, Any]) -> sound.Sound | None:
    try:
        return sound.copied(path, first_frame)
    except (OSError, ValueError, av.FFmpegError) as error:
        add_damage(info, f"{path}: its sound cannot be copied ({getattr(error, 'strerror', error)}) and is left out")
        return None


def _square(frame: Any, stream: Any) -> tuple[int, int]:
    """(width, height) in square pixels, by the sample aspect ratio: one side is enlarged, none reduced."""
    ratio = stream.sample_aspect_ratio or Fraction(1)
    if ratio >= 1:
        return round(frame.width * ratio), frame.height
    return frame.width, round(frame.height / ratio)


def upright(frame: Any, size: tuple[int, int]) -> np.ndarray:
    """A frame upright, uint8 `[height, width, 3]`; `size` is (width, height) before rotation."""
    clear = any(component.is_alpha for component in frame.format.components)
    options: dict[str, Any] = {"format": "rgba" if clear else "rgb24"}
    if frame.colorspace == UNSPECIFIED and not frame.format.is_rgb:
        options["src_colorspace"] = BT709 if frame.height >= HD_LINES else BT601
    if (frame.width, frame.height) != size:
        options |= {"width": size[0], "height": size[1], "interpolation": Interpolation.LANCZOS}
    pixels = frame.reformat(**options).to_ndarray()
    if clear:
        pixels = on_white(pixels)

    rightward, downward, transposed = _orientation(frame)
    if transposed:
        pixels = pixels.swapaxes(0, 1)
    return pixels[::downward, ::rightward]


def _orientation(frame: Any) -> tuple[int, int, bool]:
    """(step along columns, along rows, whether rows are columns), of the eight orientations of a picture.

    The display matrix takes stored x, y to shown (a x + c y, b x + d y); other angles are rounded to quarters.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know every kind of side data (Exif); the angle is known then, but no mirroring
        return QUARTERS[round(frame.rotation / 90) % 4]
    if data is None:
        return 1, 1, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5]
    transposed = abs(int(b)) > abs(int(a))
    across, down = (c, b) if transposed else (a, d)
    rightward = -1 if across < 0 else 1
    downward = -1 if down < 0 else 1
    return rightward, downward, transposed


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, in words."""
    if isinstance(error, av.InvalidDataError | av.EOFError) and path.is_file():
        head = path.open("rb").read(12)
        if not head:
            return "the file is empty"
        if head[4:8] == b"ftyp":
            return "it is damaged, or cut off before its index, the moov atom"
        return "it is damaged, or neither video nor picture"
    return getattr(error, "strerror", None) or str(error)
