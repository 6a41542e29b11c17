// The prompt: planned into a scene or a story, by rules or by a language model whose reply may be pasted.

import { ask, options } from "./client.js";
import { $, fillSelect, notify, reporting } from "./dom.js";
import { t } from "./language.js";
import { chooseMethod, chosenMethod, usualMethod } from "./method_choice.js";
import { stop } from "./player.js";
import { loadFields } from "./render_form.js";
import { addView, change, currentScene, scenesOf, state } from "./state.js";
import { showAccounts } from "./words.js";

const STEM = 3; // letters of a word that are compared

export function bindPlanning() {
  fillSelect("planner", options.planners);
  $("planning").onsubmit = reporting(plan);
  for (const id of ["planner", "kind"]) $(id).onchange = reporting(showMessages);
  $("prompt").onchange = reporting(async () => {
    const prompt = $("prompt").value.trim();
    if (prompt) change(() => { currentScene().prompt = prompt; });
    await showMessages();
  });
  addView(showUnplanned);
}

/** Say so where a prompt was changed and not planned: the boxes are still those of another one. */
function showUnplanned({ prompt, tracks }) {
  const text = prompt.toLowerCase();
  // the begin of the noun, which its plural shares
  const isNamed = ({ phrase }) => text.includes(phrase.toLowerCase().split(" ").at(-1).slice(0, STEM));
  $("unplanned").hidden = !tracks.length || tracks.some(isNamed);
}

async function plan() {
  const request = { prompt: $("prompt").value, planner: $("planner").value, kind: $("kind").value };
  if (request.kind === "video") request.seconds = currentScene().seconds || 2;
  if (request.planner === "paste") {
    if (!$("reply").value.trim()) throw new Error(t("give the words on the left to a language model and paste its reply"));
    request.reply = $("reply").value;
  }
  const { story, warnings, accounts } = await ask("plan", request);
  takeStory(scenesOf(story));
  showAccounts(accounts);

  // stories have another usual method than scenes; one that somebody chose stays
  const isStory = state.story.length > 1;
  if (chosenMethod() === usualMethod(!isStory)) {
    chooseMethod(usualMethod(isStory));
    await loadFields();
  }
  const { reasoning } = currentScene();
  if (warnings.length) notify(warnings.join("; "));
  else notify(reasoning ? t("Planned: {reasoning}", { reasoning }) : t("Planned."));
}

/** A story takes the place of the story, a scene that of the selected scene. */
function takeStory(scenes) {
  stop();
  change(() => {
    if (scenes.length > 1) {
      state.story = scenes;
      state.scene = 0;
    } else {
      state.story[state.scene] = scenes[0];
    }
    state.key = state.track = 0;
    state.time = null;
  });
}

/** The messages for a language model, where its reply is to be pasted. */
async function showMessages() {
  const isPasted = $("planner").value === "paste";
  $("pasting").hidden = !isPasted;
  if (!isPasted || !$("prompt").value) return;
  const { text } = await ask("chat", { prompt: $("prompt").value, kind: $("kind").value });
  $("words").value = text;
}
