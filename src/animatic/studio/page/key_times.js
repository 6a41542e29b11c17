// Key frames of a scene at any time 0..1: found, added, moved, removed and made fewer. No page in here.
// All tracks have theirs at the same times: `scene.times`, rising from 0 to 1; [] or none is evenly spaced.
// Functions leave the scene they are given as it is and return another.

import { clamp } from "./geometry.js";

export const CLOSEST = 0.005; // two key frames, in parts of the scene
const EXACT = 1e-4; // in parts of the frame
const EVEN = 1e-6; // what is this near to evenly spaced times is evenly spaced

const lengthOf = (scene) => scene.tracks[0]?.boxes.length ?? 1;
const evenTimes = (count) => Array.from({ length: count }, (_, i) => i / Math.max(1, count - 1));

/** The time of each key frame. */
export function keyTimes(scene) {
  const count = lengthOf(scene);
  return scene.times?.length === count ? scene.times : evenTimes(count);
}

/** A box between two; the nearer one where either is absent. */
function between(a, b, fraction) {
  if (!a || !b) return fraction < 0.5 ? a : b;
  return a.map((value, i) => value + (b[i] - value) * fraction);
}

/** The box of a track at a time: linear between its key frames. */
export function boxAt(boxes, times, time) {
  let before = 0;
  while (before < boxes.length - 1 && times[before + 1] <= time) before += 1;
  const after = Math.min(before + 1, boxes.length - 1);
  const fraction = after > before ? (time - times[before]) / (times[after] - times[before]) : 0;
  return between(boxes[before], boxes[after], fraction);
}

/** The boxes of all tracks at a time. */
export function boxesAt(scene, time) {
  const times = keyTimes(scene);
  return scene.tracks.map(({ boxes }) => boxAt(boxes, times, time));
}

/** The key frame at a time, or -1. */
export const keyAt = (scene, time, reach = CLOSEST) => keyTimes(scene).findIndex((each) => Math.abs(each - time) < reach);

/** A scene with other key frames: `rows` are its tracks' boxes. */
function withKeys(scene, times, rows) {
  const even = evenTimes(times.length);
  const isEven = times.every((time, i) => Math.abs(time - even[i]) < EVEN);
  const tracks = scene.tracks.map((track, i) => ({ ...track, boxes: rows[i] }));
  return { ...scene, tracks, times: isEven ? [] : times };
}

/** The same motion with a key frame at a time; where there is one already, the scene itself. */
export function withKey(scene, time) {
  if (!scene.tracks.length || keyAt(scene, time) >= 0) return scene;
  const old = lengthOf(scene) > 1 ? scene : withTwoKeys(scene);
  if (old !== scene && keyAt(old, time) >= 0) return old;
  const times = keyTimes(old);
  const after = times.findIndex((each) => each > time);
  const middle = (times[after - 1] + times[after]) / 2;
  const vanishes = old.tracks.some(({ boxes }) => Boolean(boxes[after - 1]) !== Boolean(boxes[after]));

  // who appears or vanishes half-way between two key frames goes on to do so: a second one, as far from the middle
  let added = [time];
  if (vanishes) {
    const here = Math.abs(time - middle) < CLOSEST / 2 ? middle - CLOSEST / 2 : time;
    added = [here, 2 * middle - here].sort((a, b) => a - b);
  }
  const next = [...times, ...added].sort((a, b) => a - b);
  return withKeys(old, next, old.tracks.map(({ boxes }) => next.map((each) => boxAt(boxes, times, each))));
}

function withTwoKeys(scene) {
  return withKeys(scene, [0, 1], scene.tracks.map(({ boxes }) => [boxes[0], boxes[0]]));
}

/** Without one key frame: a first or last one gives its time to its neighbour. */
export function withoutKey(scene, key) {
  if (lengthOf(scene) < 2) return scene;
  const times = keyTimes(scene).filter((_, i) => i !== key);
  times[0] = 0;
  if (times.length > 1) times[times.length - 1] = 1;
  return withKeys(scene, times, scene.tracks.map(({ boxes }) => boxes.filter((_, i) => i !== key)));
}

/** A key frame at another time, between its neighbours; the first and the last stay. */
export function withKeyMoved(scene, key, time) {
  const times = [...keyTimes(scene)];
  if (key <= 0 || key >= times.length - 1) return scene;
  times[key] = clamp(time, times[key - 1] + CLOSEST, times[key + 1] - CLOSEST);
  return withKeys(scene, times, scene.tracks.map(({ boxes }) => boxes));
}

/** As many key frames at even times; between them the motion is a straight line. */
export function evenlySpaced(scene, count = lengthOf(scene)) {
  const times = keyTimes(scene), next = evenTimes(count);
  return withKeys(scene, next, scene.tracks.map(({ boxes }) => next.map((time) => boxAt(boxes, times, time))));
}

// ---- fewer key frames

const gap = (a, b) => Math.max(...a.map((value, c) => Math.abs(value - b[c])));

/** The key frame between two others at which a track is furthest from how it would be without those between: [key, how far]. */
function furthestKey(times, boxes, first, last) {
  const inner = Array.from({ length: last - first - 1 }, (_, k) => first + 1 + k);
  const changes = [first, ...inner].filter((k) => Boolean(boxes[k]) !== Boolean(boxes[k + 1]));
  if (!changes.length && !boxes[first]) return [-1, 0];

  // who appears or vanishes does so half-way, and rests before and after
  const middle = (times[first] + times[last]) / 2;
  const wrong = changes.find((k) => changes.length > 1 || Math.abs((times[k] + times[k + 1]) / 2 - middle) > EVEN);
  if (wrong !== undefined) return [wrong > first ? wrong : wrong + 1, Infinity];

  const distances = inner.filter((k) => boxes[k]).map((k) => {
    const fraction = (times[k] - times[first]) / (times[last] - times[first]);
    return [k, gap(boxes[k], between(boxes[first], boxes[last], fraction))];
  });
  return distances.reduce((most, each) => (each[1] > most[1] ? each : most), [-1, 0]);
}

/**
 * Which key frames of tracks' boxes at `times` are needed (Ramer 1972; Douglas and Peucker 1973, with the distance at the
 * same time in place of the nearest). At no time is track i further than tolerances[i], in parts of the frame, from before.
 */
export function neededKeys(times, tracks, tolerances) {
  const needed = new Set([0, times.length - 1]);
  const spans = [[0, times.length - 1]];
  while (spans.length) {
    const [first, last] = spans.pop();
    const [key, distance] = tracks
      .map(({ boxes }, i) => [furthestKey(times, boxes, first, last), tolerances[i]])
      .map(([[each, far], tolerance]) => [each, far / tolerance])
      .reduce((most, each) => (each[1] > most[1] ? each : most), [-1, 1]);
    if (key < 0) continue;
    needed.add(key);
    spans.push([first, key], [key, last]);
  }
  return [...needed].sort((a, b) => a - b);
}

/** The same motion with the key frames it needs: exact, but for track `i`, which may be `tolerance` of the frame away. */
export function withNeededKeys(scene, i = -1, tolerance = EXACT) {
  const times = keyTimes(scene);
  const needed = neededKeys(times, scene.tracks, scene.tracks.map((_, track) => (track === i ? tolerance : EXACT)));
  return withKeys(scene, needed.map((k) => times[k]), scene.tracks.map(({ boxes }) => needed.map((k) => boxes[k])));
}
