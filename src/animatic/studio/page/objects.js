// The list of a scene's objects: named, shown or hidden on a key frame, added and removed; and the scene's own fields.

import { options } from "./client.js";
import { $, make, notify } from "./dom.js";
import { MIDDLE, clamp } from "./geometry.js";
import { addView, change, copy, currentScene, draw, hue, keyCount, state } from "./state.js";

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

function objectRow(track, i) {
  const name = make("input", { value: track.phrase, ariaLabel: `Name of thing ${i + 1}`, maxLength: 200 });
  name.setAttribute("list", "nouns");
  name.dataset.focus = `name ${i}`;
  name.onfocus = () => { state.track = i; };
  name.onchange = () => {
    const phrase = name.value.trim();
    if (phrase) change(() => { track.phrase = phrase; });
    else draw();
  };

  const verb = track.boxes[state.key] ? "Hide" : "Show";
  const toggle = make("button", { textContent: verb, ariaLabel: `${verb} ${track.phrase} on this key frame` });
  toggle.onclick = () => toggleShown(i);
  toggle.dataset.focus = `hide ${i}`;

  const remove = make("button", { textContent: "✕", ariaLabel: `Remove ${track.phrase}`, onclick: () => removeObject(i) });
  const row = make("li", {}, name, toggle, remove);
  row.style.setProperty("--hue", hue(i));
  return row;
}

/** Add an object with a box; its name is the first known word of the prompt that is in no box, to be typed over. */
export function addObject(box = MIDDLE) {
  const { tracks, prompt } = currentScene();
  if (tracks.length >= options.limits.tracks) {
    draw();
    notify(`at most ${options.limits.tracks} objects here`, { bad: true });
    return;
  }
  const taken = tracks.map((track) => track.phrase);
  const free = options.words.find((word) => prompt.toLowerCase().includes(word) && !taken.includes(word));
  change(() => {
    tracks.push({ phrase: free ?? "thing", boxes: Array(keyCount()).fill(box), prompt: "" });
    state.track = tracks.length - 1;
  });
  const name = document.querySelector(`[data-focus="name ${state.track}"]`);
  name.focus();
  name.select();
}

export const removeObject = (i) => change(() => { currentScene().tracks.splice(i, 1); });

/** Hide an object on a key frame, or show it again: where it is on the nearest key frame that has it. */
export function toggleShown(i, key = state.key) {
  const { boxes } = currentScene().tracks[i];
  const shown = [...boxes.keys()].filter((k) => boxes[k]);
  const [nearest] = shown.sort((a, b) => Math.abs(a - key) - Math.abs(b - key));
  change(() => { boxes[key] = boxes[key] ? null : copy(boxes[nearest] ?? MIDDLE); });
}
