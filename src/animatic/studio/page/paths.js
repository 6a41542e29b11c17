// The way of one object through a scene: moved whole, made straight or smooth, eased, replaced by a recorded one.
// Other objects keep theirs. No page in here; functions return another scene.

import { clamp, round } from "./geometry.js";
import { CLOSEST, boxAt, keyTimes, withKey, withNeededKeys } from "./key_times.js";

const PIECES = 4; // key frames made for each piece of a smooth way
const EASED_KEYS = 9; // key frames made for an eased way

/** Time 0..1 of the motion at a time 0..1 of the scene. */
export const EASINGS = {
  linear: (time) => time,
  "ease-in": (time) => time ** 2,
  "ease-out": (time) => 1 - (1 - time) ** 2,
  "ease-in-out": (time) => time * time * (3 - 2 * time),
};

/** Boxes moved together, no further than all of them stay within the frame. */
export function movedTogether(boxes, dx, dy) {
  const shown = boxes.filter(Boolean);
  const limits = (low, high) => [-Math.min(...shown.map((box) => box[low])), 1 - Math.max(...shown.map((box) => box[high]))];
  const x = clamp(dx, ...limits(0, 2)), y = clamp(dy, ...limits(1, 3));
  return boxes.map((box) => box && [box[0] + x, box[1] + y, box[2] + x, box[3] + y].map(round));
}

/** A scene whose track `i` is at `way(time)`, with key frames at `added` times, and no more than are needed. */
function withWay(scene, i, added, way, tolerance) {
  const all = added.reduce((next, time) => withKey(next, time), scene);
  const boxes = keyTimes(all).map((time) => {
    const box = way(time);
    return box && box.map((value) => round(clamp(value)));
  });
  const tracks = all.tracks.map((track, k) => (k === i ? { ...track, boxes } : track));
  return withNeededKeys({ ...all, tracks }, i, tolerance);
}

/** Track `i` in a straight line at even speed from its first box to its last; absent where it was. */
export function straightened(scene, i) {
  const times = keyTimes(scene), { boxes } = scene.tracks[i];
  const shown = [...boxes.keys()].filter((k) => boxes[k]);
  if (shown.length < 2) return scene;
  const ends = [shown[0], shown[shown.length - 1]];
  const line = (time) => boxAt(ends.map((k) => boxes[k]), ends.map((k) => times[k]), clamp(time, times[ends[0]], times[ends[1]]));
  return withWay(scene, i, [], (time) => boxAt(boxes, times, time) && line(time));
}

/**
 * Track `i` on a smooth curve through its boxes: the cubic Hermite spline with the slopes of Fritsch and Butland (1984),
 * which goes no further than its boxes do.
 */
export function smoothed(scene, i, tolerance = 0.004) {
  const times = keyTimes(scene), { boxes } = scene.tracks[i];
  const added = times.slice(1).flatMap((end, k) => {
    if (!boxes[k] || !boxes[k + 1]) return [];
    return Array.from({ length: PIECES - 1 }, (_, j) => times[k] + ((end - times[k]) * (j + 1)) / PIECES);
  });
  return withWay(scene, i, added, (time) => curveAt(boxes, times, time), tolerance);
}

/** The box at a time on the curve through boxes. */
function curveAt(boxes, times, time) {
  let k = 0;
  while (k < boxes.length - 2 && times[k + 1] <= time) k += 1;
  const a = boxes[k], b = boxes[k + 1];
  if (!a || !b) return boxAt(boxes, times, time);
  const length = times[k + 1] - times[k], u = (time - times[k]) / length;
  return a.map((from, c) => {
    const to = b[c], [begin, end] = [slopeAt(boxes, times, k, c), slopeAt(boxes, times, k + 1, c)];
    const hermite = [2 * u ** 3 - 3 * u ** 2 + 1, u ** 3 - 2 * u ** 2 + u, -2 * u ** 3 + 3 * u ** 2, u ** 3 - u ** 2];
    return hermite[0] * from + hermite[1] * length * begin + hermite[2] * to + hermite[3] * length * end;
  });
}

/** The slope of coordinate `c` at key frame `k`: the harmonic mean of those before and after, 0 where it turns. */
function slopeAt(boxes, times, k, c) {
  const slope = (j) => {
    if (j < 0 || j >= boxes.length - 1 || !boxes[j] || !boxes[j + 1]) return null;
    return (boxes[j + 1][c] - boxes[j][c]) / (times[j + 1] - times[j]);
  };
  const before = slope(k - 1), after = slope(k);
  if (before === null || after === null) return before ?? after ?? 0;
  return before * after > 0 ? (2 * before * after) / (before + after) : 0;
}

/** Track `i` on the same way with another speed: an easing of `EASINGS`. */
export function eased(scene, i, easing, tolerance = 0.002) {
  const times = keyTimes(scene), { boxes } = scene.tracks[i];
  const added = Array.from({ length: EASED_KEYS - 2 }, (_, k) => (k + 1) / (EASED_KEYS - 1));
  return withWay(scene, i, added, (time) => boxAt(boxes, times, EASINGS[easing](time)), tolerance);
}

/**
 * Track `i` as it was drawn: `samples` are [time, box], rising in time; before the first it is where it was, after the
 * last it stays. The tolerance begins at a hundredth of the frame and grows until there are at most `limit` key frames.
 */
export function recorded(scene, i, samples, limit, tolerance = 0.01) {
  const times = keyTimes(scene), { boxes } = scene.tracks[i];
  const taken = samples.map(([time]) => time), drawn = samples.map(([, box]) => box);
  const way = (time) => (time < taken[0] ? boxAt(boxes, times, time) : boxAt(drawn, taken, Math.min(time, taken[taken.length - 1])));

  // until just before the first sample it goes where it went
  const added = taken[0] > 2 * CLOSEST ? [taken[0] - 2 * CLOSEST, ...taken] : taken;
  const made = withWay(scene, i, added, way, tolerance);
  return keyTimes(made).length <= limit || tolerance > 1 ? made : recorded(scene, i, samples, limit, tolerance * 1.5);
}

/** A scene with a copy of track `i` of another as its last; with the key frames of both. */
export function copiedInto(target, source, i) {
  const track = source.tracks[i], alone = { ...source, tracks: [track] };
  if (!target.tracks.length) return { ...target, tracks: [{ ...track, boxes: [...track.boxes] }], times: source.times ?? [] };
  const own = keyTimes(target).reduce(withKey, alone);
  const next = keyTimes(own).reduce(withKey, target);
  const boxes = keyTimes(next).map((time) => boxAt(own.tracks[0].boxes, keyTimes(own), time));
  return withNeededKeys({ ...next, tracks: [...next.tracks, { ...track, boxes }] });
}
