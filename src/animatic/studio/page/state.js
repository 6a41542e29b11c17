// The one state of the page: a story, what of it is selected, and its history.
// It is changed by `change` alone, which keeps it in this browser; views are registered with `addView` and shown by `draw`.

import { options } from "./client.js";
import { $, notify } from "./dom.js";
import { clamp } from "./geometry.js";
import { t } from "./language.js";

const STORE = "animatic.story"; // of localStorage
const HISTORY = 200; // changes that can be undone

/**
 * `scene`, `key` and `track` are the selected ones; `time` is the one that is shown, or null for that of the key frame;
 * `past` and `future` are stories as JSON.
 */
export const state = { story: [], scene: 0, key: 0, track: 0, time: null, past: [], future: [] };

const views = [];

export const currentScene = () => state.story[state.scene];
export const keyCount = (scene = currentScene()) => scene.tracks[0]?.boxes.length ?? 1;
export const hue = (track) => options.palette[track % options.palette.length];
export const copy = (value) => JSON.parse(JSON.stringify(value));

const blank = () => ({ prompt: $("prompt").value || "A bear", tracks: [], background: "", negative: "", seconds: 2, reasoning: "" });

/** The scenes of a Scene's or Story's JSON, without versions and with every field. */
export const scenesOf = (json) => (json.scenes ?? [json]).map(({ version, ...scene }) => ({ ...blank(), ...scene }));

/** The story as its file holds it: of version 2 where a scene gives times of its key frames; locks and joins stay in the page. */
export function storyJson() {
  const scenes = state.story.map(({ times, join, ...scene }) => {
    const tracks = scene.tracks.map(({ locked, ...track }) => track);
    return times?.length === keyCount(scene) ? { ...scene, tracks, times } : { ...scene, tracks };
  });
  return { version: scenes.some((scene) => scene.times) ? 2 : 1, scenes };
}

/** Have `view(scene, keys)` called whenever the state is shown. */
export const addView = (view) => views.push(view);

/** Show the state: every view, with the focus where it was. */
export function draw() {
  state.scene = clamp(state.scene, 0, state.story.length - 1);
  const scene = currentScene(), keys = keyCount();
  state.key = clamp(state.key, 0, keys - 1);
  state.track = clamp(state.track, 0, Math.max(0, scene.tracks.length - 1));

  // views replace their elements; one that has the focus is found again by its data-focus
  const focus = document.activeElement?.dataset?.focus;
  for (const view of views) view(scene, keys);
  if (focus) document.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

/** Change the story by `edit`; it can be undone. */
export function change(edit) {
  state.past.push(JSON.stringify(state.story));
  if (state.past.length > HISTORY) state.past.shift();
  state.future = [];
  edit();
  keep();
  draw();
}

export const undo = () => travel(state.past, state.future);
export const redo = () => travel(state.future, state.past);

function travel(from, to) {
  if (!from.length) return;
  to.push(JSON.stringify(state.story));
  state.story = JSON.parse(from.pop());
  keep();
  draw();
}

// ---- kept in this browser

const keep = () => localStorage.setItem(STORE, JSON.stringify(state.story));

/** The story of the last visit; none where there was none or it cannot be read. */
export function keptStory() {
  try {
    return scenesOf({ scenes: JSON.parse(localStorage.getItem(STORE)) ?? [] });
  } catch {
    return [];
  }
}

/** Offer the story of another tab as soon as it is changed there. */
export function followOtherTabs() {
  window.addEventListener("storage", (event) => {
    if (event.key !== STORE || !event.newValue || event.newValue === JSON.stringify(state.story)) return;
    const take = () => change(() => { state.story = JSON.parse(event.newValue); });
    notify(t("This story was changed in another tab. Yours is kept here until you change it."),
      { action: { label: t("Take the other"), run: take } });
  });
}
