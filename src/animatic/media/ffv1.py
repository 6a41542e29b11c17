"""The checksums of FFV1 (RFC 9043, section 4.9), which FFmpeg compares but reports to its log alone.

A frame of version 3 is a row of slices. Behind each are its size (3 bytes), a status (1 byte) and a checksum (4 bytes);
without checksums the size alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
WITH_CHECKSUM, WITHOUT = 8, 3  # bytes behind a slice
RESIDUE = 0xFFFFFFFF  # zlib's result of bytes whose own checksum, begun with 0, comes to 0


def damaged_frames(container: Any, stream: Any) -> list[int]:
    """Which frames of a newly opened video, from 0, have other bytes than were written.

    Empty where the video is of another codec, or has no checksums.
    """
    context = stream.codec_context
    if context.name != "ffv1" or not _is_whole(context.extradata or b""):
        return []  # before version 3 there was no header to be whole
    packets = (bytes(packet) for packet in container.demux(stream) if packet.size)
    return [number for number, packet in enumerate(packets) if _is_damaged(packet)]


def _is_damaged(packet: bytes) -> bool:
    slices = list(_slices(packet, WITH_CHECKSUM))
    if b"".join(reversed(slices)) == packet:
        return not all(map(_is_whole, slices))
    # sizes that do not come to the whole are damaged, or those of a video without checksums
    return b"".join(reversed(list(_slices(packet, WITHOUT)))) != packet


def _slices(packet: bytes, footer: int) -> Iterator[bytes]:
    """The slices with what is behind them, the last first, as far as their sizes are possible."""
    end = len(packet)
    while end >= footer:
        size = int.from_bytes(packet[end - footer : end - footer + 3], "big")
        start = end - footer - size
        if start < 0:
            return
        yield packet[start:end]
        end = start


def _is_whole(data: bytes) -> bool:
    """Whether the checksum at the end is that of the bytes before it.

    It is that of zlib with its bits in the other order, begun with 0 and not inverted at its end.
    """
    return len(data) > 4 and zlib.crc32(data.translate(REVERSED), 0xFFFFFFFF) == RESIDUE
