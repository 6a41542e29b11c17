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
export async function ask(endpoint, values = {}) {
  let answer;
  try {
    answer = await fetch(`/api/${endpoint}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(values),
    });
  } catch {
    throw new Error(t("the server does not answer; your scene is kept in this browser"));
  }
  const reply = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(reply.error), { refused: true });
  return reply;
}
