// The stage: boxes of the selected key frame, drawn, moved and resized by pointer and keyboard.

import { boxElement, place } from "./boxes.js";
import { options } from "./client.js";
import { $, make, makeSvg } from "./dom.js";
import { boxBetween, isLargeEnough, moved, resized } from "./geometry.js";
import { t } from "./language.js";
import { addObject, removeObject, toggleShown } from "./objects.js";
import { seek, stop } from "./player.js";
import { addView, change, currentScene, draw, hue, keyTime, state } from "./state.js";

const STEP = 0.01, LONG_STEP = 0.05; // of an arrow key, without and with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function bindStage() {
  $("stage").onpointerdown = drawNewBox;
  addView(drawStage);
}

function drawStage(scene, keys) {
  const boxes = scene.tracks.flatMap((track, i) => {
    const box = track.boxes[state.key];
    return box ? [editableBox(track, i, box)] : [];
  });
  $("stage").ariaLabel = t("Stage, key frame {key} of {keys}", { key: state.key + 1, keys });
  $("stage").style.aspectRatio = `${options.size.width} / ${options.size.height}`;
  $("stage").scene = null; // its elements are no longer those of `showBoxes`
  $("stage").replaceChildren(pathOf(scene.tracks[state.track]), ...boxes);
  seek(keyTime());
}

/** The way of the selected track, with its boxes on the key frames before and after. */
function pathOf(track) {
  const path = makeSvg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (!track) return path;
  const line = { stroke: hue(state.track), "vector-effect": "non-scaling-stroke" };
  const neighbours = [state.key - 1, state.key + 1].map((key) => track.boxes[key]).filter(Boolean);
  for (const [x0, y0, x1, y1] of neighbours) {
    const shape = { x: x0 * 100, y: y0 * 100, width: (x1 - x0) * 100, height: (y1 - y0) * 100 };
    path.append(makeSvg("rect", { ...shape, fill: "none", "stroke-opacity": ".3", "stroke-dasharray": "4 4", ...line }));
  }
  const centres = track.boxes.filter(Boolean).map((box) => [(box[0] + box[2]) * 50, (box[1] + box[3]) * 50]);
  const points = centres.map((point) => point.join()).join(" ");
  path.append(makeSvg("polyline", { points, fill: "none", "stroke-opacity": ".5", ...line }));

  // a dot is a line without length: circles would be stretched with the stage
  for (const [x, y] of centres) {
    const dot = { d: `M${x} ${y}h0`, "stroke-width": "7", "stroke-linecap": "round", "stroke-opacity": ".6" };
    path.append(makeSvg("path", { ...dot, ...line }));
  }
  return path;
}

/** A box that can be taken by its middle to move it, by a corner to resize it, and by the keyboard. */
function editableBox(track, i, box) {
  const element = boxElement(track.phrase, i, box);
  const [x, y, w, h] = [box[0], box[1], box[2] - box[0], box[3] - box[1]].map((value) => Math.round(value * 100));
  element.tabIndex = 0;
  element.role = "button";
  element.ariaLabel = t("{phrase}: left {x} %, top {y} %, {w} % wide, {h} % high", { phrase: track.phrase, x, y, w, h });
  element.ariaCurrent = String(i === state.track);
  element.dataset.focus = `box ${i}`;
  element.append(...["nw", "ne", "sw", "se"].map((corner) => make("i", { className: corner })));

  element.onpointerdown = (event) => {
    event.stopPropagation();
    element.focus();
    const corner = event.target.closest("i")?.className ?? "";
    dragBox(event, i, element, corner);
  };
  element.onfocus = () => {
    if (state.track === i) return;
    state.track = i;
    draw();
  };
  element.onkeydown = (event) => editByKey(event, i);
  return element;
}

// ---- the pointer

function stagePoint(event) {
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

function dragBox(event, i, element, corner) {
  const start = stagePoint(event);
  const box = currentScene().tracks[i].boxes[state.key];
  let next = box;
  state.track = i;
  const step = (point) => {
    const dx = point[0] - start[0], dy = point[1] - start[1];
    next = corner ? resized(box, corner, dx, dy) : moved(box, dx, dy);
    place(element, next);
  };
  const end = () => {
    if (String(next) === String(box)) draw();
    else setBox(i, next);
  };
  followPointer(event, step, end);
}

function drawNewBox(event) {
  if (event.button) return;
  stop();
  const start = stagePoint(event);
  const shape = boxElement(t("new"), currentScene().tracks.length, [0, 0, 0, 0]);
  let next = null;
  const step = (point) => {
    if (!shape.isConnected) $("stage").append(shape);
    next = boxBetween(start, point);
    place(shape, next);
  };
  const end = () => {
    if (next && isLargeEnough(next)) addObject(next);
    else draw();
  };
  followPointer(event, step, end);
}

// ---- the keyboard

function editByKey(event, i) {
  const length = event.shiftKey ? LONG_STEP : STEP;
  const by = ARROWS[event.key]?.map((direction) => direction * length);
  const box = currentScene().tracks[i].boxes[state.key];
  if (by) setBox(i, event.altKey ? resized(box, "se", ...by) : moved(box, ...by));
  else if (event.key === "Delete" || event.key === "Backspace") removeObject(i);
  else if (event.key.toLowerCase() === "h" && !event.ctrlKey) toggleShown(i);
  else return;
  event.preventDefault();
}

const setBox = (i, box) => change(() => { currentScene().tracks[i].boxes[state.key] = box; });
