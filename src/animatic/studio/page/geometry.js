// Boxes [x0, y0, x1, y1] as fractions of the frame: moved and resized; times of a story. No page in here.

const SMALLEST = 0.02; // side of a box
export const MIDDLE = [0.35, 0.35, 0.65, 0.65];

export const clamp = (value, low = 0, high = 1) => Math.min(high, Math.max(low, value));
export const round = (value) => Math.round(value * 1000) / 1000;
export const isLargeEnough = (box) => box[2] - box[0] > SMALLEST && box[3] - box[1] > SMALLEST;

/** The box between two corners in any order, held within the frame. */
export function boxBetween([x0, y0], [x1, y1]) {
  const box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  return box.map((value) => round(clamp(value)));
}

/** A box moved within the frame; its size stays. */
export function moved(box, dx, dy) {
  const width = box[2] - box[0], height = box[3] - box[1];
  const x = clamp(box[0] + dx, 0, 1 - width);
  const y = clamp(box[1] + dy, 0, 1 - height);
  return [x, y, x + width, y + height].map(round);
}

/** A box with one corner ("nw", "ne", "sw", "se") moved; the same box where it would become too small. */
export function resized(box, corner, dx, dy) {
  const [x0, y0, x1, y1] = box;
  const west = corner.includes("w") ? dx : 0, east = corner.includes("w") ? 0 : dx;
  const north = corner.includes("n") ? dy : 0, south = corner.includes("n") ? 0 : dy;
  const next = boxBetween([x0 + west, y0 + north], [x1 + east, y1 + south]);
  return next[2] - next[0] >= SMALLEST && next[3] - next[1] >= SMALLEST ? next : box;
}

/** The scene shown at a fraction 0..1 of a story, and the time 0..1 within it; scenes last their seconds. */
export function sceneAt(scenes, fraction) {
  const lengths = scenes.map((scene) => scene.seconds || 1);
  let rest = fraction * lengths.reduce((sum, length) => sum + length, 0);
  let index = 0;
  while (index < scenes.length - 1 && rest >= lengths[index]) rest -= lengths[index++];
  return [index, clamp(rest / lengths[index])];
}

/** The fraction 0..1 of a story at a time 0..1 of one of its scenes: the inverse of `sceneAt`. */
export function storyFraction(scenes, index, time) {
  const lengths = scenes.map((scene) => scene.seconds || 1);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const before = lengths.slice(0, index).reduce((sum, length) => sum + length, 0);
  return (before + time * lengths[index]) / total;
}
