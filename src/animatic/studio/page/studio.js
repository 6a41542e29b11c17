// The studio's page: its modules are put to work, and the first scene is shown.

import { ask, loadOptions } from "./client.js";
import { $, notifyError } from "./dom.js";
import { bindFiles } from "./files.js";
import { bindGallery } from "./gallery.js";
import { bindJobWatch, onDone, resumeWatch } from "./job_watch.js";
import { bindObjects } from "./objects.js";
import { bindPlanning } from "./planning.js";
import { bindPlayer, play } from "./player.js";
import { bindRenderForm, loadFields } from "./render_form.js";
import { showResult } from "./results.js";
import { bindStage } from "./stage.js";
import { addView, currentScene, draw, followOtherTabs, keptStory, redo, scenesOf, state, undo } from "./state.js";
import { bindTimeline, selectKey } from "./timeline.js";

function bindHistory() {
  $("undo").onclick = undo;
  $("redo").onclick = redo;
  followOtherTabs();
  addView(() => {
    $("undo").disabled = !state.past.length;
    $("redo").disabled = !state.future.length;
  });
}

/** Keys that are not those of one element; in a field they are letters. */
function bindKeyboard() {
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || $("studio").hidden) return;
    const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (isUndo && event.shiftKey) redo();
    else if (isUndo) undo();
    else if (event.key === "[") selectKey(state.key - 1);
    else if (event.key === "]") selectKey(state.key + 1);
    else if (event.key === " " && !event.target.matches("button, summary, a")) play();
    else return;
    event.preventDefault();
  });
}

async function begin() {
  await loadOptions();
  state.story = keptStory();
  if (!state.story.length) state.story = scenesOf((await ask("plan", { prompt: $("prompt").value })).story);
  $("prompt").value = currentScene().prompt;

  const bindings = [
    bindHistory, bindKeyboard, bindTimeline, bindStage, bindObjects, bindPlayer, bindFiles, bindPlanning, bindRenderForm,
    bindJobWatch, bindGallery,
  ];
  for (const bind of bindings) bind();
  onDone(showResult);

  draw();
  await loadFields();
  await resumeWatch();
}

begin().catch(notifyError);
