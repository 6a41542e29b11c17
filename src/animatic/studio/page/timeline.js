// The key frames of a scene as a table: selected, added and removed.

import { options } from "./client.js";
import { $, make } from "./dom.js";
import { clamp } from "./geometry.js";
import { evenlySpaced, keyTimes, withoutKey } from "./key_times.js";
import { t } from "./language.js";
import { toggleShown } from "./objects.js";
import { stop } from "./player.js";
import { changeKeys, insertKeyAt } from "./scene_edits.js";
import { addView, currentScene, draw, hue, keyCount, state } from "./state.js";

export function bindTimeline() {
  $("key-add").onclick = insertKey;
  $("key-remove").onclick = removeKey;
  $("key-even").onclick = () => changeKeys(evenlySpaced(currentScene()));
  addView(drawKeys);
}

function drawKeys(scene, keys) {
  const heads = Array.from({ length: keys }, (_, key) => make("th", { scope: "col" }, keyButton(key)));
  const head = make("tr", {}, make("th", { textContent: t("Key frames"), scope: "col" }), ...heads);
  $("keys").replaceChildren(make("thead", {}, head), make("tbody", {}, ...scene.tracks.map(trackRow)));
  $("key-remove").disabled = keys < 2;
  $("key-even").hidden = scene.times?.length !== keys;
  $("key-add").disabled = !scene.tracks.length || keys >= options.limits.keys;
}

const isShown = (key) => state.time === null && key === state.key;

function keyButton(key) {
  const pressed = String(isShown(key));
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
    button.onkeydown = (event) => { if (event.key.toLowerCase() === "h") hideOrShow(i, key); };
    button.dataset.shown = Boolean(box);
    button.dataset.focus = `cell ${i} ${key}`;
    return make("td", { className: isShown(key) && i === state.track ? "now" : "" }, button);
  });
  const row = make("tr", {}, make("th", { textContent: track.phrase, scope: "row" }), ...cells);
  row.style.setProperty("--hue", hue(i));
  return row;
}

function hideOrShow(i, key) {
  selectKey(key);
  toggleShown(i);
}

export function selectKey(key) {
  stop();
  state.key = clamp(key, 0, keyCount() - 1);
  state.time = null;
  draw();
}

/** A new key frame at the shown time; on a key frame half-way to the next, on the last half-way from the one before. */
function insertKey() {
  const times = keyTimes(currentScene());
  const first = Math.min(state.key, Math.max(0, times.length - 2));
  const halfWay = times.length > 1 ? (times[first] + times[first + 1]) / 2 : 1;
  insertKeyAt(state.time ?? halfWay);
}

const removeKey = () => changeKeys(withoutKey(currentScene(), state.key));
