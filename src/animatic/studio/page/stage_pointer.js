// The pointer on the stage: boxes drawn, moved, resized, and whole ways moved with Shift; what is dragged snaps to guides.

import { boxElement, place } from "./boxes.js";
import { $, make } from "./dom.js";
import { boxBetween, isLargeEnough, moved, resized, round } from "./geometry.js";
import { boxesAt } from "./key_times.js";
import { t } from "./language.js";
import { addObject } from "./objects.js";
import { movedTogether } from "./paths.js";
import { stop } from "./player.js";
import { changeBox, changeTrack, shownTime } from "./scene_edits.js";
import { groundOf, snapped } from "./snapping.js";
import { currentScene, draw, state } from "./state.js";

let takeOver = null; // what the next press on the stage does in place of drawing a box

export function bindStagePointer() {
  $("stage").onpointerdown = (event) => {
    if (event.button) return;
    if (takeOver) takeOver(event);
    else drawNewBox(event);
  };
  $("snap").onchange = () => showGuides();
}

/** Have the next presses on the stage, on boxes too, handled by `handler`; null for drawing again. */
export function takeOverStage(handler) {
  takeOver = handler;
}

export function stagePoint(event) {
  const area = $("stage").getBoundingClientRect();
  return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
}

/** Call `step` with each point of the stage the pointer comes to, and `end` when it is let go. */
export function followPointer(event, step, end) {
  const stage = $("stage");
  stage.setPointerCapture(event.pointerId);
  stage.onpointermove = (next) => step(stagePoint(next));
  stage.onpointerup = stage.onpointercancel = () => {
    stage.onpointermove = stage.onpointerup = stage.onpointercancel = null;
    end();
  };
}

/** Drag a box by its middle, by a corner ("nw", "ne", "sw", "se"), or with Shift its whole way. */
export function dragBox(event, i, element, corner) {
  if (takeOver) return; // the press goes on to the stage
  event.stopPropagation();
  element.focus();
  const start = stagePoint(event);
  const track = currentScene().tracks[i];
  const box = boxesAt(currentScene(), shownTime())[i];
  const isWhole = event.shiftKey && !corner;
  let next = box, way = track.boxes;
  state.track = i;

  const step = (point) => {
    const dx = point[0] - start[0], dy = point[1] - start[1];
    if (isWhole) {
      way = movedTogether(track.boxes, dx, dy);
      next = boxesAt({ ...currentScene(), tracks: [{ ...track, boxes: way }] }, shownTime())[0];
    } else next = withSnap(corner ? resized(box, corner, dx, dy) : moved(box, dx, dy), corner, i);
    place(element, next);
  };
  const end = () => {
    if (String(next) === String(box)) draw();
    else if (isWhole) changeTrack(i, { boxes: way });
    else changeBox(i, next);
  };
  followPointer(event, step, end);
}

function drawNewBox(event) {
  stop();
  const start = stagePoint(event);
  const shape = boxElement(t("new"), currentScene().tracks.length, [0, 0, 0, 0]);
  let next = null;
  const step = (point) => {
    if (!shape.isConnected) $("stage").append(shape);
    const corner = (point[1] < start[1] ? "n" : "s") + (point[0] < start[0] ? "w" : "e");
    next = withSnap(boxBetween(start, point), corner, -1);
    place(shape, next);
  };
  const end = () => {
    if (next && isLargeEnough(next)) addObject(next);
    else draw();
  };
  followPointer(event, step, end);
}

// ---- guides

/** The edge on which the other objects stand. */
function ground(i) {
  return groundOf(currentScene().tracks.flatMap((track, k) => (k === i ? [] : track.boxes)));
}

function withSnap(box, corner, i) {
  if (!$("snap").checked) return box;
  const { box: next, guides } = snapped(box, corner, ground(i));
  showGuides(i, guides);
  return next.map(round);
}

/** Show the thirds and the ground, those that a box is on strongly; nothing where it does not snap. */
export function showGuides(i = state.track, { x, y } = {}) {
  $("stage").querySelectorAll(".guide").forEach((line) => line.remove());
  if (!$("snap").checked) return;
  const lines = [["across", 1 / 3], ["across", 2 / 3], ["down", 1 / 3], ["down", 2 / 3], ["down", ground(i)]];
  lines.forEach(([axis, at], k) => {
    const isOn = (axis === "across" ? x : y) === at;
    const line = make("span", { className: `guide ${axis} ${k < 4 ? "third" : "ground"} ${isOn ? "on" : ""}` });
    line.style[axis === "across" ? "left" : "top"] = `${at * 100}%`;
    $("stage").append(line);
  });
}
