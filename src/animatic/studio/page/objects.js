// The list of a scene's objects: named, coloured, described, shown or hidden on a key frame, added and removed; and the
// scene's own fields.

import { options } from "./client.js";
import { $, make, notifyError } from "./dom.js";
import { MIDDLE, clamp } from "./geometry.js";
import { boxesAt, keyTimes } from "./key_times.js";
import { t } from "./language.js";
import { colourOf, coloured, exchanged } from "./phrases.js";
import { changeBox, shownTime } from "./scene_edits.js";
import { addView, change, copy, currentScene, draw, hue, keyCount, state } from "./state.js";

const opened = new WeakSet(); // tracks whose own prompt is shown

export function bindObjects() {
  $("nouns").replaceChildren(...options.words.map((value) => make("option", { value })));
  $("add").onclick = () => addObject();
  for (const id of ["background", "negative"]) {
    $(id).onchange = (event) => change(() => { currentScene()[id] = event.target.value; });
  }
  $("seconds").onchange = (event) => change(() => { currentScene().seconds = clamp(Number(event.target.value) || 0, 0, 60); });
  addView(drawObjects);
}

function drawObjects(scene) {
  $("tracks").replaceChildren(...scene.tracks.map(objectRow));
  for (const id of ["background", "negative", "seconds"]) $(id).value = scene[id];
}

// ---- a row

function objectRow(track, i) {
  const bar = make("div", { className: "bar" }, colourSelect(track, i), toggleButton(track, i), removeButton(track, i));
  const row = make("li", {}, nameInput(track, i), bar, ownPrompt(track, i));
  row.style.setProperty("--hue", hue(i));
  return row;
}

function nameInput(track, i) {
  const name = make("input", { value: track.phrase, ariaLabel: t("Name of object {i}", { i: i + 1 }), maxLength: 200 });
  name.setAttribute("list", "nouns");
  name.dataset.focus = `name ${i}`;
  name.onfocus = () => { state.track = i; };
  name.onchange = () => {
    const phrase = name.value.trim();
    if (phrase) change(() => { track.phrase = phrase; });
    else draw();
  };
  return name;
}

/** The colour in an object's name; another one changes the name and the prompt. */
function colourSelect(track, i) {
  const [chosen] = colourOf(track.phrase, options.colours);
  const choices = ["", ...options.colours].map((colour) => make("option", {
    value: colour, textContent: colour ? t(colour) : t("any colour"), selected: colour === chosen,
  }));
  const select = make("select", { ariaLabel: t("Colour of {phrase}", { phrase: track.phrase }) }, ...choices);
  select.dataset.focus = `colour ${i}`;
  select.onchange = () => renameObject(i, coloured(track.phrase, select.value, options.colours));
  return select;
}

function toggleButton(track, i) {
  const { phrase } = track;
  const isShown = Boolean(boxesAt(currentScene(), shownTime())[i]);
  const label = isShown ? t("Hide {phrase} at this time", { phrase }) : t("Show {phrase} at this time", { phrase });
  const toggle = make("button", { textContent: isShown ? t("Hide") : t("Show"), ariaLabel: label, onclick: () => toggleShown(i) });
  toggle.dataset.focus = `hide ${i}`;
  return toggle;
}

function removeButton(track, i) {
  const label = t("Remove {phrase}", { phrase: track.phrase });
  return make("button", { textContent: "✕", ariaLabel: label, onclick: () => removeObject(i) });
}

/** The object's own prompt, for methods that draw each object by itself; it is open where it holds something. */
function ownPrompt(track, i) {
  const label = t("Own prompt of {phrase}", { phrase: track.phrase });
  const input = make("input", { value: track.prompt, maxLength: 2000, ariaLabel: label, placeholder: track.phrase, autocomplete: "off" });
  input.dataset.focus = `prompt ${i}`;
  input.onchange = () => change(() => { track.prompt = input.value.trim(); });
  const details = make("details", { open: Boolean(track.prompt) || opened.has(track) });
  details.append(make("summary", { textContent: t("Own prompt") }), input);
  details.ontoggle = () => { if (details.open) opened.add(track); else opened.delete(track); };
  return details;
}

// ---- changes

/** Add an object; without a `phrase` it is the first known word of the prompt in no box, to be typed over. */
export function addObject(box = MIDDLE, phrase = "") {
  const { tracks, prompt } = currentScene();
  if (tracks.length >= options.limits.tracks) {
    draw();
    notifyError(new Error(t("at most {count} objects here", { count: options.limits.tracks })));
    return;
  }
  const taken = tracks.map((track) => track.phrase);
  const free = options.words.find((word) => prompt.toLowerCase().includes(word) && !taken.includes(word));
  change(() => {
    tracks.push({ phrase: phrase || free || "thing", boxes: Array(keyCount()).fill(box), prompt: "" });
    state.track = tracks.length - 1;
  });
  const name = document.querySelector(`[data-focus="name ${state.track}"]`);
  name.focus();
  name.select();
}

/** Give an object another name, in the prompt too where it stands there. */
export function renameObject(i, phrase) {
  const scene = currentScene(), track = scene.tracks[i];
  change(() => {
    scene.prompt = exchanged(scene.prompt, track.phrase, phrase);
    track.prompt = exchanged(track.prompt, track.phrase, phrase);
    track.phrase = phrase;
  });
  $("prompt").value = scene.prompt;
}

export const removeObject = (i) => change(() => { currentScene().tracks.splice(i, 1); });

/** Hide an object at the shown time, or show it again: where it is on the nearest key frame that has it. */
export function toggleShown(i) {
  const scene = currentScene(), time = shownTime();
  const { boxes } = scene.tracks[i];
  const distances = keyTimes(scene).map((each) => Math.abs(each - time));
  const shown = [...boxes.keys()].filter((key) => boxes[key]);
  const [nearest] = shown.sort((a, b) => distances[a] - distances[b]);
  changeBox(i, boxesAt(scene, time)[i] ? null : copy(boxes[nearest] ?? MIDDLE));
}
