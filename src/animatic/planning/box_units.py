"""The unit of a reply's boxes, found by the range of their numbers: fractions, per cent, pixels of 512, or 0..1000."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import AnimaticError
from ..scene import Box
from .reply import quote

Rows = Sequence[Sequence[Box | None]]
OUTSIDE = (-1.0, 2.0)  # how far a box in fractions may leave the frame, to be cut to it
UNITS = {  # what one frame measures -> the unit's name
    100.0: "per cent",
    512.0: "pixels of 512",  # the canvas of LMD and LVD
    1000.0: "thousandths of the frame",  # models that were trained to point answer in 0..1000
}
LEAST_PERCENT = 10.0  # whole boxes in the first tenth of a frame are no scene


def in_fractions(rows: Rows, where: str) -> tuple[list[tuple[Box | None, ...]], str]:
    """Boxes `x0, y0, x1, y1` of all objects as fractions of the frame, and a line on their unit where it is another.

    One unit for the whole reply, found by its largest number. Raises `AnimaticError` where the numbers fit no unit, or
    two at a time, or a box is reversed.
    """
    boxes = [box for row in rows for box in row if box is not None]
    size, unit = _unit(boxes, where)

    # each box is checked in the unit that the reply has, so that a message quotes its own numbers
    converted: list[tuple[Box | None, ...]] = []
    for i, row in enumerate(rows):
        fractions: list[Box | None] = []
        for j, box in enumerate(row):
            if box is None:
                fractions.append(None)
                continue
            _check(box, size, f"{where}tracks.{i}.boxes.{j}")
            fractions.append(_scaled(box, size))
        converted.append(tuple(fractions))

    # a unit that was only found by range is said
    largest = max((max(box) for box in boxes), default=0.0)
    note = f"boxes with numbers up to {largest:g} are read as {unit}" if unit else ""
    return converted, note


def _unit(boxes: Sequence[Box], where: str) -> tuple[float, str]:
    """What the frame measures in the unit of these boxes, and the unit's name; 1 and "" of fractions."""
    # whole numbers above 1 are no fractions: [0, 0, 1, 2] would be cut to the whole frame
    largest = max((max(box) for box in boxes), default=0.0)
    if largest <= 1:
        return 1.0, ""
    are_whole = all(value == int(value) for box in boxes for value in box)
    if largest <= OUTSIDE[1] and not are_whole:
        return 1.0, ""

    # the smallest unit that holds every number
    size = next((size for size in UNITS if largest <= size), 0.0)
    if not size or largest <= LEAST_PERCENT:
        box = max(boxes, key=max)
        raise AnimaticError(
            f"{where}a box is {quote(list(box))}; want fractions of the frame, in 0..1; numbers up to {largest:g} "
            "fit no unit (per cent, pixels of 512, 0..1000)"
        )

    # a box in fractions among others would shrink to a point
    for box in boxes:
        if 0 < max(box) <= 1 and any(value != int(value) for value in box):
            raise AnimaticError(
                f"{where}boxes are in two units: {quote(list(box))} and numbers up to {largest:g}; want fractions of "
                "the frame, in 0..1"
            )
    return size, UNITS[size]


def _check(box: Box, size: float, where: str) -> None:
    """Raise `AnimaticError` where a box is reversed or lies far outside the frame."""
    x0, y0, x1, y1 = box
    if x0 > x1 or y0 > y1:
        other = " (this may be x, y, width, height)" if size > 1 else ""
        raise AnimaticError(f"{where} is {quote(list(box))}; want x0 <= x1 and y0 <= y1, not reversed{other}")
    low, high = OUTSIDE
    if min(box) < low * size or max(box) > high * size:
        raise AnimaticError(f"{where} is {quote(list(box))}; want fractions of the frame, in 0..1")


def _scaled(box: Box, size: float) -> Box:
    return box[0] / size, box[1] / size, box[2] / size, box[3] / size
