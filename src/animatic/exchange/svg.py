"""A story as an animated SVG that every browser plays: boxes with their phrases, moving in time.

SMIL animation, https://www.w3.org/TR/SVG11/animate.html. Text is escaped by the XML writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as xml

from ..scene import Box
from ..video import PALETTE
from .frames import SceneFrames

NAMESPACE = "http://www.w3.org/2000/svg"


def svg(parts: Sequence[SceneFrames], fps: float, width: int, height: int) -> bytes:
    """An SVG of `width` x `height` units that plays the frames of all scenes, and begins again."""
    total = sum(part.count for part in parts)
    size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
    root = xml.Element("svg", {"xmlns": NAMESPACE, **size})
    xml.SubElement(root, "title").text = " / ".join(part.scene.prompt for part in parts)
    xml.SubElement(root, "rect", width="100%", height="100%", fill="#eeeeee")

    for part in parts:
        for i, track in enumerate(part.tracks):
            # Outside its scene a track is absent.
            before = [None] * part.first
            after = [None] * (total - part.first - part.count)
            boxes = [*before, *track.boxes, *after]
            colour = PALETTE[i % len(PALETTE)]
            _draw_track(root, track.phrase, boxes, colour, total / fps, width, height)
    return xml.tostring(root, encoding="utf-8", xml_declaration=True)


def _draw_track(
    root: xml.Element, phrase: str, boxes: Sequence[Box | None], colour: str, seconds: float, width: int, height: int
) -> None:
    """The rectangle of a track and its label, with one value a frame."""
    known = [box for box in boxes if box is not None]
    if not known:
        return

    # Where it is absent it waits, unseen, at its last place.
    last = known[0]
    corners = []
    for box in boxes:
        last = box or last
        x0, y0, x1, y1 = last
        corners.append((x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height))
    shown = ["hidden" if box is None else "visible" for box in boxes]

    group = xml.SubElement(root, "g", visibility=shown[0])
    _animate(group, "visibility", shown, seconds)
    rectangle = xml.SubElement(group, "rect", {"fill": "none", "stroke": colour, "stroke-width": "2"})
    label = xml.SubElement(group, "text", {"fill": colour, "font-family": "sans-serif", "font-size": "12"})
    label.text = phrase
    for axis, name in enumerate(("x", "y", "width", "height")):
        values = [f"{corner[axis]:.2f}" for corner in corners]
        rectangle.set(name, values[0])
        _animate(rectangle, name, values, seconds)

    # The label stands on the lower edge inside the box, which is in the frame.
    places = {"x": [x + 4 for x, _, _, _ in corners], "y": [y + h - 4 for _, y, _, h in corners]}
    for name, numbers in places.items():
        values = [f"{number:.2f}" for number in numbers]
        label.set(name, values[0])
        _animate(label, name, values, seconds)


def _animate(parent: xml.Element, attribute: str, values: Sequence[str], seconds: float) -> None:
    """One value for each frame, which stays until the next; nothing where all are alike."""
    if len(set(values)) == 1:
        return
    xml.SubElement(
        parent,
        "animate",
        attributeName=attribute,
        values=";".join(values),
        dur=f"{seconds:g}s",
        calcMode="discrete",
        repeatCount="indefinite",
    )
