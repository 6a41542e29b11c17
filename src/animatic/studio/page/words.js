// What the planner made of each word of the prompt: coloured by its role; one that was not understood becomes an object
// at a click; an object that the model has not seen gets suggestions.

import { ask, options } from "./client.js";
import { $, make, notifyError } from "./dom.js";
import { selectScene } from "./filmstrip.js";
import { t } from "./language.js";
import { addObject, renameObject } from "./objects.js";
import { addView, currentScene, state } from "./state.js";

const LOST = "not understood";
let accounts = []; // one a scene, as `plan` returns them
const suggestions = new Map(); // phrase: words to say instead, empty where the model knows it, null while asked

export function bindWords() {
  // the roles are those of the prompt that was planned
  $("prompt").addEventListener("input", () => showAccounts([]));
  $("model").addEventListener("change", () => drawSuggestions(currentScene()));
  addView(drawAccounts);
  addView(drawSuggestions);
}

/** Show the accounts of a planned story; none of a language model. */
export function showAccounts(planned) {
  accounts = planned;
  drawAccounts();
}

// ---- roles

function drawAccounts() {
  const lines = accounts.map(accountLine);
  const roles = new Set(accounts.flatMap((account, i) => account.words.map((word) => roleOf(word, i))));
  if (roles.size) lines.push(legend([...roles]));
  const lost = accounts.flatMap((account, i) => account.words.filter((word) => roleOf(word, i) === LOST));
  if (lost.length) {
    const words = [...new Set(lost.map((word) => word.word))].join(", ");
    const text = t("Not understood, so in no box: {words}. Click a word to make it an object.", { words });
    lines.push(make("span", { className: "hint", textContent: text }));
  }
  $("account").hidden = !accounts.length;
  $("account").replaceChildren(...lines);
}

/** A word's role in scene `i`: the planner's, until somebody makes a lost word an object. */
function roleOf(word, i) {
  const tracks = state.story[i]?.tracks ?? [];
  const isObject = word.role === LOST && tracks.some((track) => track.phrase === word.word);
  return isObject ? "object" : word.role;
}

function accountLine(account, i) {
  const line = make("span", { lang: "en" });
  let end = 0;
  for (const word of account.words) {
    line.append(account.prompt.slice(end, word.start), wordElement(account, word, i));
    end = word.end;
  }
  line.append(account.prompt.slice(end));
  return line;
}

function wordElement(account, word, i) {
  const role = roleOf(word, i);
  const text = account.prompt.slice(word.start, word.end);
  const shown = { textContent: text, title: t(role), className: className(role) };
  if (role !== LOST) return make("span", shown);
  const button = make("button", { ...shown, type: "button", ariaLabel: t("{word}: not understood; make it an object", { word: text }) });
  button.onclick = () => {
    if (accounts.length > 1) selectScene(i);
    addObject(undefined, word.word);
  };
  return button;
}

const className = (role) => role.replace(" ", "-");

/** The roles that occur, each in its colour. */
function legend(roles) {
  const names = roles.map((role) => make("span", { textContent: t(role), className: className(role) }));
  return make("small", { className: "legend" }, ...names);
}

// ---- words that the model does not know

function drawSuggestions(scene) {
  askUnknown(scene).catch(notifyError);
  const lines = scene.tracks.flatMap((track, i) => {
    const words = suggestions.get(keyOf(track.phrase)) ?? [];
    return words.length ? [suggestionLine(track.phrase, i, words)] : [];
  });
  $("suggestions").replaceChildren(...lines);
}

function suggestionLine(phrase, i, words) {
  const text = t("{model} has not learned “{phrase}”. Use instead:", { model: $("model").value, phrase });
  const buttons = words.map((word) => make("button", {
    type: "button", textContent: word, lang: "en", ariaLabel: t("{word} instead of {phrase}", { word, phrase }), onclick: () => renameObject(i, word),
  }));
  return make("li", {}, text, ...buttons);
}

const keyOf = (phrase) => `${$("model").value}: ${phrase}`;

/** Ask for suggestions for the phrases that were not asked for before, then show them. */
async function askUnknown(scene) {
  const model = $("model").value;
  const phrases = [...new Set(scene.tracks.map((track) => track.phrase))].filter((phrase) => !suggestions.has(keyOf(phrase)));
  if (!phrases.length || !model) return;
  for (const phrase of phrases) suggestions.set(keyOf(phrase), null);
  const found = await ask("suggest", { phrases, model });
  for (const phrase of phrases) suggestions.set(`${model}: ${phrase}`, found[phrase] ?? []);
  if (Object.keys(found).length) drawSuggestions(currentScene());
}
