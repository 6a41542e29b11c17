"""The sound of a video, copied as compressed packets from one file to another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MP4_CODECS = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")  # what players expect in .mp4; others become AAC
AAC_RATE = 48000  # Hz at most
LAYOUTS = {1: "mono", 6: "5.1", 8: "7.1"}  # by the number of channels; of any other, stereo is made
LEAD = 1.0  # seconds, see `Sound`
PREROLL = 0.1  # seconds before the first frame that decoders may need to get going


@dataclass(frozen=True)
class Sound:
    """All sound tracks of a file, packets untouched, in a NUT file of their own (16 kB a second is usual).

    Its times are `LEAD` seconds later than those of the frames: sound begins before the first one now and then, and a
    file's times do not.
    """

    data: bytes = field(repr=False)


def copied(path: Path, first_frame: float) -> Sound | None:
    """The sound of a file whose first frame is shown at `first_frame` seconds; None where it holds none.

    Raises `av.FFmpegError` or `ValueError` where it cannot be copied.
    """
    import av

    buffer, any_packet = io.BytesIO(), False
    with av.open(str(path), metadata_errors="replace") as source, av.open(buffer, "w", format="nut") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams.audio}
        if not streams:
            return None
        for packet in source.demux(source.streams.audio):
            if packet.pts is None or packet.time_base is None:  # the empty one that ends a stream
                continue
            if float((packet.pts + (packet.duration or 0)) * packet.time_base) < first_frame - PREROLL:
                continue
            _move(packet, LEAD - first_frame)
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
            any_packet = True
    return Sound(buffer.getvalue()) if any_packet else None  # a file that was cut off may name a track and hold none


def _move(packet: Any, seconds: float) -> None:
    packet.pts = packet.dts = packet.pts + round(seconds / packet.time_base)


class Muxer:
    """Puts `sound` into an open `container` beside its video, packet by packet, as the video's time goes on.

    Codecs other than `codecs` are written as AAC; () copies any.
    """

    def __init__(self, container: Any, sound: Sound | None, codecs: tuple[str, ...] = ()) -> None:
        self.container = container
        self.packets = iter(()) if sound is None else self._packets(sound, codecs)
        self.next = next(self.packets, None)

    def until(self, seconds: float) -> None:
        """Write all packets that begin before this time."""
        while self.next is not None and self.next[0] <= seconds:
            self.container.mux(self.next[1])
            self.next = next(self.packets, None)

    def close(self) -> None:
        self.until(float("inf"))

    def _packets(self, sound: Sound, codecs: tuple[str, ...]) -> Iterator[tuple[float, Any]]:
        """(time in seconds, packet) of all tracks; the first step adds the tracks to the container."""
        import av

        with av.open(io.BytesIO(sound.data), "r") as source:
            tracks = {stream.index: self._track(stream, codecs) for stream in source.streams.audio}
            for packet in source.demux(source.streams.audio):
                track, copy = tracks[packet.stream.index]
                if not copy:
                    yield from _encoded(packet, track)
                elif packet.pts is not None and packet.time_base:
                    _move(packet, -LEAD)
                    packet.stream = track
                    yield float(packet.pts * packet.time_base), packet

    def _track(self, stream: Any, codecs: tuple[str, ...]) -> tuple[Any, bool]:
        """(the new track, whether packets are copied into it)."""
        if not codecs or stream.codec_context.codec.canonical_name in codecs:
            return self.container.add_stream_from_template(stream), True
        layout = LAYOUTS.get(stream.channels, "stereo")
        return self.container.add_stream("aac", rate=min(stream.rate, AAC_RATE), layout=layout), False


def _encoded(packet: Any, track: Any) -> Iterator[tuple[float, Any]]:
    """What becomes of a packet in the codec of `track`; the empty packet that ends a stream brings what is left."""
    frames = packet.decode()
    for frame in frames:
        frame.pts -= round(LEAD / frame.time_base)
    for frame in frames if packet.size else [*frames, None]:
        for made in track.encode(frame):
            yield float((made.pts or 0) * made.time_base), made
