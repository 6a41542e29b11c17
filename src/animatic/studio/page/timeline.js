// Scenes of the story and key frames of a scene: selected, added and removed.

import { options } from "./client.js";
import { $, make } from "./dom.js";
import { boxesAt, clamp, round } from "./geometry.js";
import { t } from "./language.js";
import { toggleShown } from "./objects.js";
import { stop } from "./player.js";
import { addView, change, copy, currentScene, draw, hue, keyCount, state } from "./state.js";

export function bindTimeline() {
  $("key-add").onclick = insertKey;
  $("key-remove").onclick = removeKey;
  addView(drawScenes);
  addView(drawKeys);
}

// ---- scenes

function drawScenes() {
  const tabs = state.story.flatMap((scene, i) => {
    const tab = make("button", { textContent: t("Scene {i}", { i: i + 1 }), title: scene.prompt, ariaPressed: String(i === state.scene) });
    tab.onclick = () => selectScene(i);
    return [tab, " "];
  });
  const isFull = state.story.length >= options.limits.scenes;
  const more = make("button", { textContent: "+", ariaLabel: t("Add a scene"), disabled: isFull, onclick: addScene });
  const isOnly = state.story.length < 2;
  const less = make("button", { textContent: "−", ariaLabel: t("Remove this scene"), hidden: isOnly, onclick: removeScene });
  $("tabs").replaceChildren(...tabs, more, " ", less);
}

export function selectScene(i) {
  stop();
  state.scene = i;
  $("prompt").value = currentScene().prompt;
  draw();
}

function addScene() {
  change(() => {
    state.story.splice(state.scene + 1, 0, copy(currentScene()));
    state.scene += 1;
  });
}

const removeScene = () => change(() => { state.story.splice(state.scene, 1); });

// ---- key frames

function drawKeys(scene, keys) {
  const heads = Array.from({ length: keys }, (_, key) => make("th", { scope: "col" }, keyButton(key)));
  const head = make("tr", {}, make("th", { textContent: t("Key frames"), scope: "col" }), ...heads);
  $("keys").replaceChildren(make("thead", {}, head), make("tbody", {}, ...scene.tracks.map(trackRow)));
  $("key-remove").disabled = keys < 2;
  $("key-add").disabled = !scene.tracks.length || keys >= options.limits.keys;
}

function keyButton(key) {
  const pressed = String(key === state.key);
  const button = make("button", { textContent: key + 1, ariaLabel: t("Key frame {key}", { key: key + 1 }), ariaPressed: pressed });
  button.onclick = () => selectKey(key);
  button.dataset.focus = `key ${key}`;
  return button;
}

/** A track's key frames; H on one of them hides or shows the object there. */
function trackRow(track, i) {
  const cells = track.boxes.map((box, key) => {
    const values = { phrase: track.phrase, key: key + 1 };
    const shown = t("{phrase}, key frame {key}, shown; press H to change", values);
    const hidden = t("{phrase}, key frame {key}, hidden; press H to change", values);
    const button = make("button", { ariaLabel: box ? shown : hidden });
    button.onclick = () => { state.track = i; selectKey(key); };
    button.onkeydown = (event) => { if (event.key.toLowerCase() === "h") toggleShown(i, key); };
    button.dataset.shown = Boolean(box);
    button.dataset.focus = `cell ${i} ${key}`;
    return make("td", { className: key === state.key && i === state.track ? "now" : "" }, button);
  });
  const row = make("tr", {}, make("th", { textContent: track.phrase, scope: "row" }), ...cells);
  row.style.setProperty("--hue", hue(i));
  return row;
}

export function selectKey(key) {
  stop();
  state.key = clamp(key, 0, keyCount() - 1);
  draw();
}

/** A new key frame after the selected one, half way to the next. */
function insertKey() {
  change(() => {
    const keys = keyCount(), next = Math.min(state.key + 1, keys - 1);
    const middle = keys > 1 ? (state.key + next) / 2 / (keys - 1) : 0;
    const between = boxesAt(currentScene(), middle);
    currentScene().tracks.forEach((track, i) => track.boxes.splice(state.key + 1, 0, between[i] && between[i].map(round)));
    state.key += 1;
  });
}

const removeKey = () => change(() => currentScene().tracks.forEach((track) => track.boxes.splice(state.key, 1)));
