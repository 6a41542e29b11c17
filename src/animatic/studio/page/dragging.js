// Cards and entries of lists that are dragged to another place. A finger scrolls instead: there are buttons and lists too.

const THRESHOLD = 6; // pixels: less is a click

/**
 * Follow the pointer from a press: `element` goes along, in the directions "x", "y" or "xy". `step(event, shift)` is called
 * where it comes to, `shift` {x, y} in pixels; `end(isDropped)` when it is let go, or taken away. Of a click neither is.
 */
export function dragElement(event, element, directions, step, end) {
  if (event.button || event.pointerType === "touch") return;
  let isDragged = false;

  const onMove = (next) => {
    const shift = { x: next.clientX - event.clientX, y: next.clientY - event.clientY };
    isDragged ||= Math.hypot(shift.x, shift.y) > THRESHOLD;
    if (!isDragged) return;
    const [x, y] = ["x", "y"].map((direction) => (directions.includes(direction) ? shift[direction] : 0));
    element.classList.add("dragged");
    element.style.transform = `translate(${x}px, ${y}px)`;
    step(next, shift);
  };
  const onEnd = (last) => {
    window.removeEventListener("pointermove", onMove);
    window.removeEventListener("pointerup", onEnd);
    window.removeEventListener("pointercancel", onEnd);
    if (!isDragged) return;
    element.classList.remove("dragged");
    element.style.transform = "";
    end(last.type === "pointerup");
  };
  window.addEventListener("pointermove", onMove);
  window.addEventListener("pointerup", onEnd);
  window.addEventListener("pointercancel", onEnd);
}

/** Middles of elements in a row, or in a column: for `placeAmong`. */
export function middlesOf(elements, direction) {
  const areas = [...elements].map((element) => element.getBoundingClientRect());
  return areas.map((area) => (direction === "x" ? area.left + area.width / 2 : area.top + area.height / 2));
}

/** The place, from 0, at which element `i` stands among the others when it is shifted by so many pixels. */
export const placeAmong = (middles, i, shift) => middles.filter((middle, k) => k !== i && middle < middles[i] + shift).length;
