// The ruler of a scene's time: scrubbed by pointer and keyboard, with a mark for each key frame that can be moved.

import { $, make, notify } from "./dom.js";
import { clamp, round } from "./geometry.js";
import { keyTimes, withKeyMoved } from "./key_times.js";
import { t } from "./language.js";
import { addTimeView, stop } from "./player.js";
import { changeKeys, insertKeyAt, selectTime, shownTime } from "./scene_edits.js";
import { addView, currentScene, draw, state } from "./state.js";

const STEP = 0.02, LONG_STEP = 0.1; // of the scene: an arrow key, without and with Shift
const TICK_WIDTH = 48; // pixels, at least
const TICKS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60]; // seconds between two

export function bindRuler() {
  const playhead = $("playhead");
  $("ruler").onpointerdown = scrub;
  $("ruler").ondblclick = (event) => insertKeyAt(rulerTime(event));
  playhead.onkeydown = scrubByKey;
  window.addEventListener("resize", () => drawTicks(currentScene().seconds || 1));
  addView(drawRuler);
  addTimeView(placePlayhead);
}

const percent = (time) => `${round(time) * 100}%`;
const secondsAt = (time) => `${(time * (currentScene().seconds || 1)).toFixed(2)} s`;

function drawRuler(scene) {
  drawTicks(scene.seconds || 1);
  $("marks").replaceChildren(...keyTimes(scene).map(markOf));
  placePlayhead(shownTime());
}

function drawTicks(seconds) {
  const most = Math.max(2, $("ruler").clientWidth / TICK_WIDTH);
  const step = TICKS.find((each) => seconds / each <= most) ?? seconds;
  const count = Math.floor(seconds / step + 1e-6) + 1;
  const ticks = Array.from({ length: count }, (_, i) => {
    const tick = make("span", { textContent: `${Number((i * step).toFixed(2))}` });
    tick.style.left = percent((i * step) / seconds);
    return tick;
  });
  $("ticks").replaceChildren(...ticks);
}

function placePlayhead(time) {
  const playhead = $("playhead");
  playhead.style.left = percent(time);
  playhead.ariaValueNow = String(round(time));
  playhead.ariaValueText = secondsAt(time);
  $("clock").textContent = secondsAt(time);
}

function markOf(time, key) {
  const mark = make("button", { className: "mark", ariaLabel: t("Key frame {key}, at {time}", { key: key + 1, time: secondsAt(time) }) });
  mark.style.left = percent(time);
  mark.ariaCurrent = String(state.time === null && key === state.key);
  mark.dataset.focus = `mark ${key}`;
  mark.onpointerdown = (event) => dragMark(event, key);
  mark.ondblclick = (event) => event.stopPropagation();
  mark.onclick = () => { if (mark.isConnected) selectTime(time); };
  mark.onkeydown = (event) => moveByKey(event, key);
  return mark;
}

// ---- the pointer

function rulerTime(event) {
  const area = $("ruler").getBoundingClientRect();
  return clamp((event.clientX - area.left) / area.width);
}

/** Call `step` with each time the pointer comes to, and `end` when it is let go. */
function followTime(event, step, end) {
  const ruler = $("ruler");
  ruler.setPointerCapture(event.pointerId);
  ruler.onpointermove = (next) => step(rulerTime(next));
  ruler.onpointerup = ruler.onpointercancel = () => {
    ruler.onpointermove = ruler.onpointerup = ruler.onpointercancel = null;
    end();
  };
}

function scrub(event) {
  if (event.button) return;
  stop();
  selectTime(rulerTime(event));
  followTime(event, selectTime, () => $("playhead").focus());
}

function dragMark(event, key) {
  if (event.button) return;
  event.stopPropagation();
  stop();
  const times = keyTimes(currentScene());
  selectTime(times[key]);
  const isEnd = key === 0 || key === times.length - 1;
  let time = null;
  const step = (next) => {
    if (isEnd) return;
    time = next;
    $("marks").children[key].style.left = percent(time);
  };
  followTime(event, step, () => {
    if (time !== null) moveKey(key, time);
  });
}

// ---- the keyboard

function scrubByKey(event) {
  const length = event.shiftKey ? LONG_STEP : STEP;
  const goals = { ArrowLeft: shownTime() - length, ArrowRight: shownTime() + length, Home: 0, End: 1 };
  if (event.key in goals) {
    stop();
    selectTime(clamp(goals[event.key]));
  } else if (event.key === "Enter") insertKeyAt(shownTime());
  else return;
  event.preventDefault();
}

function moveByKey(event, key) {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!direction) return;
  const length = event.shiftKey ? LONG_STEP : STEP;
  moveKey(key, keyTimes(currentScene())[key] + direction * length);
  event.preventDefault();
}

/** Put a key frame at another time, between its neighbours. */
function moveKey(key, time) {
  const scene = currentScene();
  const next = withKeyMoved(scene, key, round(time));
  if (next === scene) {
    notify(t("The first and the last key frame stay at the begin and the end of the scene."));
    draw();
    return;
  }
  changeKeys(next, key);
}
