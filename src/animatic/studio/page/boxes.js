// Boxes as elements over a picture: on the stage, in the player, over results.

import { make } from "./dom.js";
import { boxesAt } from "./key_times.js";
import { hue } from "./state.js";

/** Put an element where a box is, in percent of its parent. */
export function place(element, [x0, y0, x1, y1]) {
  Object.assign(element.style, {
    left: `${x0 * 100}%`,
    top: `${y0 * 100}%`,
    width: `${(x1 - x0) * 100}%`,
    height: `${(y1 - y0) * 100}%`,
  });
}

/** An element for a box of a track. */
export function boxElement(phrase, track, box) {
  const element = make("div", { className: "box" }, make("b", { textContent: phrase }));
  element.style.setProperty("--hue", hue(track));
  place(element, box);
  return element;
}

/** Show the boxes of a scene at a time 0..1 in `root`; the elements stay while the scene does. */
export function showBoxes(root, scene, time) {
  if (root.scene !== scene) {
    root.scene = scene;
    root.replaceChildren(...scene.tracks.map((track, i) => boxElement(track.phrase, i, [0, 0, 0, 0])));
  }
  boxesAt(scene, time).forEach((box, i) => {
    root.children[i].hidden = !box;
    if (box) place(root.children[i], box);
  });
}
