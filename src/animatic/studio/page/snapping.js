// Boxes that are dragged snap to the thirds of the frame and to the ground. No page in here.

const THIRDS = [1 / 3, 2 / 3];
const REACH = 0.015; // of the frame
const GROUND = 0.9; // lower edge of what stands on the ground, where no other object says

/** The lower edge on which most of these boxes stand; the lowest of equals. */
export function groundOf(boxes) {
  const edges = boxes.filter(Boolean).map((box) => Math.round(box[3] * 100) / 100);
  if (!edges.length) return GROUND;
  const count = (edge) => edges.filter((each) => each === edge).length;
  return edges.sort((a, b) => count(b) - count(a) || b - a)[0];
}

/** The nearest pair of an edge and a guide within reach: [shift, guide], or none. */
function nearest(edges, guides) {
  const pairs = edges.flatMap((edge) => guides.map((guide) => [guide - edge, guide]));
  const near = pairs.filter(([shift]) => Math.abs(shift) <= REACH + 1e-9);
  return near.sort((a, b) => Math.abs(a[0]) - Math.abs(b[0]))[0];
}

/**
 * A box moved (corner "") or resized by a corner, on the guides it is near to: its middle and its edges on the thirds, its
 * lower edge also on the ground. `guides` are those it is on: {x, y}, undefined where it is on none.
 */
export function snapped([x0, y0, x1, y1], corner, ground) {
  const west = corner.includes("w"), north = corner.includes("n");
  const columns = corner ? [west ? x0 : x1] : [(x0 + x1) / 2, x0, x1];
  const rows = corner ? [north ? y0 : y1] : [(y0 + y1) / 2, y0, y1];
  const across = nearest(columns, THIRDS);
  const onGround = north ? undefined : nearest([y1], [ground]);
  const down = onGround ?? nearest(rows, THIRDS);

  const dx = across?.[0] ?? 0, dy = down?.[0] ?? 0;
  const box = corner
    ? [x0 + (west ? dx : 0), y0 + (north ? dy : 0), x1 + (west ? 0 : dx), y1 + (north ? 0 : dy)]
    : [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
  const isInside = box.every((value) => value >= 0 && value <= 1);
  if (!isInside) return { box: [x0, y0, x1, y1], guides: {} };
  return { box, guides: { x: across?.[1], y: down?.[1] } };
}
