// The studio's page: its modules are put to work, and the first scene is shown.

import { ask, loadOptions } from "./client.js";
import { $, notifyError } from "./dom.js";
import { bindEstimate } from "./estimate.js";
import { bindFiles } from "./files.js";
import { bindFilmstrip } from "./filmstrip.js";
import { bindFirstImage } from "./first_image.js";
import { bindGallery, loadGallery } from "./gallery.js";
import { bindJobWatch, onDone, resumeWatch } from "./job_watch.js";
import { addLanguageView, beginLanguage } from "./language.js";
import { bindLoras } from "./loras.js";
import { bindObjectTools } from "./object_tools.js";
import { bindObjects } from "./objects.js";
import { bindPlanning } from "./planning.js";
import { bindPlayer } from "./player.js";
import { bindProjects } from "./projects.js";
import { bindRecording } from "./recording.js";
import { bindRenderForm, loadFields } from "./render_form.js";
import { bindResults, showNewResult } from "./results.js";
import { bindRuler } from "./ruler.js";
import { bindShortcuts } from "./shortcuts.js";
import { bindStage } from "./stage.js";
import { addView, currentScene, draw, followOtherTabs, keptStory, redo, scenesOf, state, undo } from "./state.js";
import { bindTimeline } from "./timeline.js";
import { bindWords } from "./words.js";
import { bindZoom } from "./zoom.js";

function bindHistory() {
  $("undo").onclick = undo;
  $("redo").onclick = redo;
  followOtherTabs();
  addView(() => {
    $("undo").disabled = !state.past.length;
    $("redo").disabled = !state.future.length;
  });
}

async function begin() {
  await Promise.all([beginLanguage(), loadOptions()]);
  state.story = keptStory();
  if (!state.story.length) state.story = scenesOf((await ask("plan", { prompt: $("prompt").value })).story);
  $("prompt").value = currentScene().prompt;

  const bindings = [
    bindHistory, bindShortcuts, bindFilmstrip, bindTimeline, bindRuler, bindStage, bindZoom, bindRecording, bindObjects,
    bindObjectTools, bindPlayer, bindFiles, bindPlanning, bindWords, bindRenderForm, bindFirstImage, bindLoras, bindJobWatch, bindEstimate, bindResults, bindGallery,
  ];
  for (const bind of bindings) bind();
  bindProjects(() => loadGallery());
  onDone(showNewResult);
  addLanguageView(draw);

  draw();
  await loadFields();
  await resumeWatch();
}

begin().catch(notifyError);
