"""The sound of a video, as it was compressed: taken from one file, put into another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

MP4_CODECS = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")  # what players expect in .mp4; others become AAC
PREROLL = 0.1  # seconds before the first frame that decoders may need to get going


@dataclass(frozen=True)
class Sound:
    """All sound tracks of a file, packets untouched, in a NUT file of their own (16 kB a second is usual).

    `start` is when the first packet begins, in seconds after the first frame (before it where negative).
    """

    data: bytes = field(repr=False)
    start: float = 0.0


def copied(path: Path, first_frame: float) -> Sound | None:
    """The sound of a file whose first frame is shown at `first_frame` seconds; None where it has none.

    Raises `av.FFmpegError` or `ValueError` where it cannot be copied.
    """
    import av

    buffer, start = io.BytesIO(), None
    with av.open(str(path)) as source, av.open(buffer, "w", format="nut") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams.audio}
        if not streams:
            return None
        for packet in source.demux(source.streams.audio):
            if packet.pts is None or packet.time_base is None:  # the empty one that ends a stream
                continue
            if float((packet.pts + (packet.duration or 0)) * packet.time_base) < first_frame - PREROLL:
                continue
            begins = float(packet.pts * packet.time_base) - first_frame
            start = begins if start is None else min(start, begins)
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    return None if start is None else Sound(buffer.getvalue(), start)


class Muxer:
    """Puts `sound` into an open `container` beside its video, packet by packet, as the video's time goes on."""

    def __init__(self, container: Any, sound: Sound | None, codecs: tuple[str, ...] = ()) -> None:
        """Codecs other than `codecs` are written as AAC; () copies any."""
        import av

        self.container, self.start = container, 0.0 if sound is None else sound.start
        self.source = sound and av.open(io.BytesIO(sound.data))
        self.tracks: dict[int, tuple[Any, bool]] = {}  # of the source's index: the new track, and whether it is copied
        for stream in self.source.streams.audio if self.source else ():
            if codecs and stream.codec_context.codec.canonical_name not in codecs:
                track = container.add_stream("aac", rate=min(stream.rate, 48000), layout=stream.layout)
                self.tracks[stream.index] = track, False
            else:
                self.tracks[stream.index] = container.add_stream_from_template(stream), True
        self.waiting = self._packets()
        self.next = next(self.waiting, None)

    def until(self, seconds: float) -> None:
        """Write all that begins before this time."""
        while self.next is not None and self.next[0] <= seconds:
            self.container.mux(self.next[1])
            self.next = next(self.waiting, None)

    def close(self) -> None:
        self.until(float("inf"))
        if self.source:
            self.source.close()

    def _packets(self) -> Iterator[tuple[float, Any]]:
        """(time in seconds, packet) of all tracks."""
        if not self.source:
            return
        origin = None
        for packet in self.source.demux(self.source.streams.audio):
            track, copy = self.tracks[packet.stream.index]
            if copy and packet.pts is None:
                continue
            if origin is None:
                origin = float(packet.pts * packet.time_base)
            if copy:
                packet.pts = packet.dts = self._moved(packet.pts, packet.time_base, origin)
                packet.stream = track
                yield float(packet.pts * packet.time_base), packet
            else:
                yield from self._encoded(packet, track, origin)

    def _encoded(self, packet: Any, track: Any, origin: float) -> Iterator[tuple[float, Any]]:
        frames = packet.decode()
        for frame in frames:
            frame.pts = self._moved(frame.pts, frame.time_base, origin)
        for frame in [*frames, None] if packet.pts is None else frames:
            for made in track.encode(frame):
                yield float((made.pts or 0) * made.time_base), made

    def _moved(self, pts: int, base: Fraction, origin: float) -> int:
        """A time of the sound's own file as one of the video: whole ticks of `base`."""
        return pts + round((self.start - origin) / base)
