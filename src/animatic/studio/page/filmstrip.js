// The scenes of the story as a strip: thumbnails with their seconds, selected, added, removed and put in another order.

import { options } from "./client.js";
import { $, make, makeSvg } from "./dom.js";
import { dragElement, middlesOf, placeAmong } from "./dragging.js";
import { clamp } from "./geometry.js";
import { boxesAt } from "./key_times.js";
import { t } from "./language.js";
import { stop } from "./player.js";
import { addView, change, copy, currentScene, draw, hue, scenesOf, state } from "./state.js";
import { joinOf } from "./transitions.js";

const LONGEST = 60; // seconds of a scene

export function bindFilmstrip() {
  addView(drawStrip);
}

function drawStrip() {
  const isStory = state.story.length > 1;
  const isFull = state.story.length >= options.limits.scenes;
  const button = (text, ariaLabel, onclick, more = {}) => {
    const made = make("button", { textContent: text, ariaLabel, onclick, ...more });
    made.dataset.focus = ariaLabel;
    return made;
  };
  const isFullTitle = isFull ? t("at most {count} scenes here", { count: options.limits.scenes }) : "";
  const tools = [
    button(`+ ${t("empty")}`, t("Add an empty scene"), () => addScene(emptyScene()), { disabled: isFull, title: isFullTitle }),
    button(`+ ${t("copy")}`, t("Add a copy of this scene"), () => addScene(copy(currentScene())), { disabled: isFull, title: isFullTitle }),
  ];
  if (isStory) {
    const total = state.story.reduce((sum, scene) => sum + scene.seconds, 0);
    tools.push(
      button("−", t("Remove this scene"), removeScene),
      button("◀", t("Move this scene earlier"), () => moveScene(state.scene, state.scene - 1), { disabled: state.scene === 0 }),
      button("▶", t("Move this scene later"), () => moveScene(state.scene, state.scene + 1),
        { disabled: state.scene === state.story.length - 1 }),
      make("span", { className: "hint", textContent: t("{seconds} s in all", { seconds: Number(total.toFixed(2)) }) }));
  }
  $("tabs").classList.toggle("strip", isStory);
  const cards = state.story.flatMap((scene, i) => (i ? [joinOf(i), cardOf(scene, i, isStory)] : [cardOf(scene, i, isStory)]));
  $("tabs").replaceChildren(...cards, ...tools);
}

/** A scene's card: its thumbnail and number; in a story also its seconds. */
function cardOf(scene, i, isStory) {
  const tab = make("button", { title: scene.prompt, ariaPressed: String(i === state.scene) });
  if (isStory) tab.append(thumbnail(scene));
  tab.append(t("Scene {i}", { i: i + 1 }));
  tab.setAttribute("aria-keyshortcuts", "Alt+ArrowLeft Alt+ArrowRight");
  tab.dataset.focus = `scene ${i}`;
  tab.onclick = () => selectScene(i);
  tab.onkeydown = (event) => moveByKey(event, i);
  if (!isStory) return tab;

  tab.onpointerdown = (event) => dragCard(event, i);
  const seconds = make("input", { type: "number", min: 0, max: LONGEST, step: 0.5, value: scene.seconds });
  seconds.ariaLabel = t("Seconds of scene {i}", { i: i + 1 });
  seconds.dataset.focus = `seconds ${i}`;
  seconds.onchange = () => change(() => { scene.seconds = clamp(Number(seconds.value) || 0, 0, LONGEST); });
  return make("div", { className: "scene" }, tab, seconds);
}

/** The boxes of a scene half-way through it, and the ways they go. */
function thumbnail(scene) {
  const { width, height } = options.size;
  const picture = makeSvg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.style.aspectRatio = `${width} / ${height}`;
  boxesAt(scene, 0.5).forEach((box, i) => {
    const line = { stroke: hue(i), "vector-effect": "non-scaling-stroke" };
    const centres = scene.tracks[i].boxes.filter(Boolean).map(([x0, y0, x1, y1]) => `${(x0 + x1) * 50},${(y0 + y1) * 50}`);
    picture.append(makeSvg("polyline", { points: centres.join(" "), fill: "none", "stroke-opacity": ".6", ...line }));
    if (!box) return;
    const [x0, y0, x1, y1] = box.map((value) => value * 100);
    const shape = { x: x0, y: y0, width: x1 - x0, height: y1 - y0, fill: hue(i), "fill-opacity": ".25" };
    picture.append(makeSvg("rect", { ...shape, ...line }));
  });
  return picture;
}

// ---- what is done to scenes

export function selectScene(i) {
  stop();
  state.scene = i;
  state.time = null;
  $("prompt").value = currentScene().prompt;
  draw();
}

/** A scene without a prompt and objects, as long as this one. */
const emptyScene = () => ({ ...scenesOf({})[0], prompt: "", seconds: currentScene().seconds });

/** Put a scene behind this one and select it; one without a prompt is given the field for it. */
function addScene(scene) {
  stop();
  change(() => {
    state.story.splice(state.scene + 1, 0, scene);
    state.scene += 1;
    state.time = null;
  });
  $("prompt").value = scene.prompt;
  if (!scene.prompt) $("prompt").focus();
}

function removeScene() {
  change(() => { state.story.splice(state.scene, 1); });
  $("prompt").value = currentScene().prompt;
}

/** Put a scene in another place of the story; it stays selected. */
function moveScene(from, to) {
  const goal = clamp(to, 0, state.story.length - 1);
  if (goal === from) return;
  change(() => {
    state.story.splice(goal, 0, ...state.story.splice(from, 1));
    state.scene = goal;
  });
  $("prompt").value = currentScene().prompt;
}

function moveByKey(event, i) {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!direction || state.story.length < 2) return;
  const goal = clamp(i + direction, 0, state.story.length - 1);
  if (event.altKey) moveScene(i, goal);
  else selectScene(goal);
  document.querySelector(`[data-focus="scene ${goal}"]`).focus();
  event.preventDefault();
}

/** Drag a card along the strip; it goes where the pointer lets it go. A finger scrolls the strip instead. */
function dragCard(event, i) {
  const cards = $("tabs").querySelectorAll(".scene");
  const middles = middlesOf(cards, "x");
  let goal = i;
  dragElement(event, cards[i], "x", (_, shift) => { goal = placeAmong(middles, i, shift.x); }, () => {
    if (goal === i) draw();
    else moveScene(i, goal);
  });
}
