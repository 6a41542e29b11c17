// What the page asks of the server, and what the server offers.

import { t } from "./language.js";

/** What can be chosen from: models, methods, planners, words, limits ...; filled by `loadOptions`. */
export const options = {};

export async function loadOptions() {
  Object.assign(options, await ask("options"));
}

/**
 * Call an endpoint with named JSON values; returns its JSON.
 * Throws where the server does not answer, or refuses (`refused`: its line says why).
 */
export const ask = (endpoint, values = {}) => post(`/api/${endpoint}`, "application/json", JSON.stringify(values));

/** Send a file of at most so many bytes; returns the JSON of the answer, and throws as `ask` does. */
export async function send(path, file, type, most) {
  if (file.size > most) throw new Error(t("{file} has {size} MB; at most {most} here", { file: file.name, size: (file.size / 1e6).toFixed(1), most: most / 1e6 }));
  return post(path, type, file);
}

async function post(path, type, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "content-type": type }, body });
  } catch {
    throw new Error(t("the server does not answer; your scene is kept in this browser"));
  }
  const reply = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(reply.error), { refused: true });
  return reply;
}
