// Scenes and stories from files and to files.

import { ask, options } from "./client.js";
import { $, make, notify, reporting } from "./dom.js";
import { t } from "./language.js";
import { change, currentScene, scenesOf, state, storyJson } from "./state.js";

export function bindFiles() {
  $("import").onclick = () => $("file").click();
  $("export").onclick = exportStory;
  $("file").onchange = reporting(importStory);
}

async function importStory(event) {
  const file = event.target.files[0];
  event.target.value = ""; // so that the same file can be chosen again
  if (!file) return;
  if (file.size > options.limits.body) {
    const values = { file: file.name, size: (file.size / 1e6).toFixed(1), most: options.limits.body / 1e6 };
    throw new Error(t("{file} has {size} MB; at most {most} here. Your scene is kept.", values));
  }
  let data;
  try {
    data = JSON.parse(await file.text());
  } catch {
    throw new Error(t("{file} is not JSON; want a scene or a story. Your scene is kept.", { file: file.name }));
  }
  const { story } = await ask("check", { scene: data });
  openStory(story);
  notify(t("Read {file}.", { file: file.name }));
}

/** Show a Scene or Story in place of the present one; it can be undone. */
export function openStory(json) {
  change(() => {
    state.story = scenesOf(json);
    state.scene = 0;
    state.time = null;
  });
  $("prompt").value = currentScene().prompt;
}

function exportStory() {
  const isStory = state.story.length > 1;
  const { version, scenes } = storyJson();
  const json = isStory ? { version, scenes } : { version, ...scenes[0] };
  download(new Blob([JSON.stringify(json, null, 1) + "\n"], { type: "application/json" }), isStory ? "story.json" : "scene.json");
}

/** Hand a file to the person. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
