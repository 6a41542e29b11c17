// The prompt: planned into a scene or story, with what became of each word; a language model's reply pasted.

import { ask, options } from "./client.js";
import { $, fillSelect, make, notify, reporting } from "./dom.js";
import { chooseMethod, chosenMethod, loadFields } from "./render_form.js";
import { stop } from "./player.js";
import { change, currentScene, scenesOf, state } from "./state.js";

export function bindPlanning() {
  fillSelect("planner", options.planners);
  $("planning").onsubmit = reporting(plan);
  for (const id of ["planner", "kind"]) $(id).onchange = reporting(showMessages);
  $("prompt").onchange = reporting(async () => {
    const prompt = $("prompt").value.trim();
    if (prompt) change(() => { currentScene().prompt = prompt; });
    await showMessages();
  });
}

async function plan() {
  const request = { prompt: $("prompt").value, planner: $("planner").value, kind: $("kind").value };
  if (request.kind === "video") request.seconds = currentScene().seconds || 2;
  if (request.planner === "paste") {
    if (!$("reply").value.trim()) throw new Error("give the words on the left to a language model and paste its reply");
    request.reply = $("reply").value;
  }
  const { story, warnings, accounts } = await ask("plan", request);
  showAccounts(accounts);
  takeStory(scenesOf(story));

  // stories have another usual method than scenes; one that somebody chose stays
  const usual = state.story.length > 1 ? ["lvd", "ditctrl+lvd"] : ["ditctrl+lvd", "lvd"];
  if (chosenMethod() === usual[0]) {
    chooseMethod(usual[1]);
    await loadFields();
  }
  const { reasoning } = currentScene();
  if (warnings.length) notify(warnings.join("; "));
  else notify(reasoning ? `Planned: ${reasoning}` : "Planned.");
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

/** The prompts with each word's role, and in words those that are in no box. */
function showAccounts(accounts) {
  const lines = accounts.map(accountLine);
  const words = accounts.flatMap((account) => account.words);
  const lost = words.filter((word) => word.role === "not understood").map((word) => word.word);
  if (lost.length) {
    lines.push(make("span", { className: "hint" }, `Not understood, so in no box: ${[...new Set(lost)].join(", ")}`));
  }
  $("account").hidden = !accounts.length;
  $("account").replaceChildren(...lines);
}

function accountLine({ prompt, words }) {
  const line = make("span");
  let end = 0;
  for (const word of words) {
    const className = word.role.replace(" ", "-");
    const text = prompt.slice(word.start, word.end);
    line.append(prompt.slice(end, word.start), make("span", { textContent: text, title: word.role, className }));
    end = word.end;
  }
  line.append(prompt.slice(end));
  return line;
}
