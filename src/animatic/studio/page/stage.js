// The stage: boxes of the scene at the shown time, drawn, and edited by the keyboard.

import { boxElement } from "./boxes.js";
import { options } from "./client.js";
import { $, make, makeSvg } from "./dom.js";
import { moved, resized } from "./geometry.js";
import { boxesAt } from "./key_times.js";
import { t } from "./language.js";
import { removeObject, toggleShown } from "./objects.js";
import { movedTogether } from "./paths.js";
import { seek } from "./player.js";
import { changeBox, changeTrack, shownTime } from "./scene_edits.js";
import { bindStagePointer, dragBox, showGuides } from "./stage_pointer.js";
import { addView, currentScene, draw, hue, state } from "./state.js";

const STEP = 0.01, LONG_STEP = 0.05; // of an arrow key, without and with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function bindStage() {
  bindStagePointer();
  addView(drawStage);
}

function drawStage(scene, keys) {
  const time = shownTime();
  const boxes = boxesAt(scene, time).flatMap((box, i) => (box ? [editableBox(scene.tracks[i], i, box)] : []));
  const onKey = t("Stage, key frame {key} of {keys}", { key: state.key + 1, keys });
  const between = t("Stage, at {seconds} s", { seconds: (time * (scene.seconds || 1)).toFixed(2) });
  $("stage").ariaLabel = state.time === null ? onKey : between;
  $("stage").style.aspectRatio = $("viewport").style.aspectRatio = `${options.size.width} / ${options.size.height}`;
  $("stage").scene = null; // its elements are no longer those of `showBoxes`
  $("stage").replaceChildren(pathOf(scene.tracks[state.track]), ...boxes);
  showGuides();
  seek(time);
}

/** The way of the selected track, with its boxes on the key frames before and after. */
function pathOf(track) {
  const path = makeSvg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (!track) return path;
  const line = { stroke: hue(state.track), "vector-effect": "non-scaling-stroke" };
  const before = state.time === null ? state.key - 1 : state.key;
  const neighbours = [before, state.key + 1].map((key) => track.boxes[key]).filter(Boolean);
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

/** A box that can be taken by its middle to move it, by a corner to resize it, and by the keyboard; a locked one by neither. */
function editableBox(track, i, box) {
  const element = boxElement(track.phrase, i, box);
  const [x, y, w, h] = [box[0], box[1], box[2] - box[0], box[3] - box[1]].map((value) => Math.round(value * 100));
  element.tabIndex = 0;
  element.role = "button";
  const label = t("{phrase}: left {x} %, top {y} %, {w} % wide, {h} % high", { phrase: track.phrase, x, y, w, h });
  element.ariaLabel = track.locked ? t("{box}, locked", { box: label }) : label;
  element.ariaCurrent = String(i === state.track);
  element.classList.toggle("locked", Boolean(track.locked));
  element.dataset.focus = `box ${i}`;
  element.append(...["nw", "ne", "sw", "se"].map((corner) => make("i", { className: corner })));

  element.onpointerdown = (event) => dragBox(event, i, element, event.target.closest("i")?.className ?? "");
  element.onfocus = () => {
    if (state.track === i) return;
    state.track = i;
    draw();
  };
  element.onkeydown = (event) => editByKey(event, i, box);
  return element;
}

/** Arrows move a box, with Alt resize it, with Ctrl move its whole way. */
function editByKey(event, i, box) {
  const track = currentScene().tracks[i];
  if (track.locked) return;
  const length = event.shiftKey ? LONG_STEP : STEP;
  const by = ARROWS[event.key]?.map((direction) => direction * length);
  if (by && event.ctrlKey) changeTrack(i, { boxes: movedTogether(track.boxes, ...by) });
  else if (by) changeBox(i, event.altKey ? resized(box, "se", ...by) : moved(box, ...by));
  else if (event.key === "Delete" || event.key === "Backspace") removeObject(i);
  else if (event.key.toLowerCase() === "h" && !event.ctrlKey) toggleShown(i);
  else return;
  event.preventDefault();
}
