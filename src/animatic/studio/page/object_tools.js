// What is done to the selected object as a whole: its order, its lock, copies of it, and its way through the scene.

import { options } from "./client.js";
import { $, make, notify, notifyError } from "./dom.js";
import { t } from "./language.js";
import { copiedInto, eased, movedTogether, smoothed, straightened } from "./paths.js";
import { changeKeys } from "./scene_edits.js";
import { addView, change, copy, currentScene, keyCount, state } from "./state.js";

const ASIDE = 0.05; // of the frame: where a duplicate lies

const WAYS = {
  straight: { label: () => t("straight"), change: straightened },
  smooth: { label: () => t("smooth"), change: smoothed },
  "ease-in": { label: () => t("slow at first"), change: (scene, i) => eased(scene, i, "ease-in") },
  "ease-out": { label: () => t("slow at last"), change: (scene, i) => eased(scene, i, "ease-out") },
  "ease-in-out": { label: () => t("slow at both ends"), change: (scene, i) => eased(scene, i, "ease-in-out") },
};

export function bindObjectTools() {
  $("duplicate").onclick = duplicate;
  $("forward").onclick = () => reorder(1);
  $("backward").onclick = () => reorder(-1);
  $("lock").onclick = toggleLock;
  $("way").onchange = () => changeWay($("way").value);
  $("copy-to").onchange = () => copyTo(Number($("copy-to").value));
  addView(drawTools);
}

const wayLabels = () => ({
  "": t("Change the way to"),
  straight: t("straight"),
  smooth: t("smooth"),
  "slow at first": t("slow at first"),
  "slow at last": t("slow at last"),
  "slow at both ends": t("slow at both ends"),
});

function drawTools(scene, keys) {
  const track = scene.tracks[state.track];
  $("object-tools").hidden = !track;
  if (!track) return;
  const isFull = scene.tracks.length >= options.limits.tracks;
  $("object-tools").ariaLabel = t("Selected object: {phrase}", { phrase: track.phrase });
  $("duplicate").disabled = isFull;
  $("forward").disabled = state.track === scene.tracks.length - 1;
  $("backward").disabled = state.track === 0;
  $("lock").ariaPressed = String(Boolean(track.locked));
  $("way").disabled = keys < 2 || Boolean(track.locked);
  const ways = Object.entries(WAYS).map(([value, { label }]) => make("option", { value, textContent: label() }));
  $("way").replaceChildren(make("option", { value: "", textContent: t("Change the way to") }), ...ways);

  // every other scene
  const others = [...state.story.keys()].filter((i) => i !== state.scene);
  $("copy-to").hidden = !others.length;
  $("copy-to").replaceChildren(make("option", { value: -1, textContent: t("Copy to scene") }),
    ...others.map((i) => make("option", { value: i, textContent: t("Scene {i}", { i: i + 1 }) })));
}

function duplicate() {
  const { tracks } = currentScene();
  const twin = copy(tracks[state.track]);
  change(() => {
    const boxes = movedTogether(twin.boxes, ASIDE, ASIDE);
    tracks.splice(state.track + 1, 0, { ...twin, boxes, locked: false });
    state.track += 1;
  });
}

/** Later objects stand in front of earlier ones. */
function reorder(direction) {
  const { tracks } = currentScene();
  change(() => {
    tracks.splice(state.track + direction, 0, ...tracks.splice(state.track, 1));
    state.track += direction;
  });
}

function toggleLock() {
  const track = currentScene().tracks[state.track];
  change(() => { track.locked = !track.locked; });
}

function changeWay(name) {
  if (name) changeKeys(WAYS[name].change(currentScene(), state.track));
}

function copyTo(goal) {
  if (goal < 0) return;
  const target = state.story[goal];
  const next = copiedInto(target, currentScene(), state.track);
  if (target.tracks.length >= options.limits.tracks || keyCount(next) > options.limits.keys) {
    const values = { i: goal + 1, objects: options.limits.tracks, keys: options.limits.keys };
    notifyError(new Error(t("scene {i} has no room: at most {objects} objects and {keys} key frames here", values)));
    return;
  }
  change(() => { state.story[goal] = next; });
  notify(t("Copied to scene {i}.", { i: goal + 1 }));
}
