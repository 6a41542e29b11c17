// What a render would take, said under the form before it begins: its memory, and its time once the model has rendered.

import { ask } from "./client.js";
import { $, make } from "./dom.js";
import { onDone } from "./job_watch.js";
import { addLanguageView, t } from "./language.js";
import { renderRequest } from "./render_form.js";
import { addView } from "./state.js";

const QUIET = 500; // milliseconds without a change before the server is asked
const COUNTED = ["scene", "model", "method", "steps", "frames", "size", "settings", "compare", "guidance", "takes", "vary", "fast", "loras"]; // of the request

let asked = ""; // the request as JSON whose answer is shown, or awaited
let answer = null;
let isAsking = false, timer = 0;

export function bindEstimate() {
  $("rendering").addEventListener("input", later);
  $("rendering").addEventListener("change", later);
  addView(later);
  addLanguageView(show);
  // its seconds a step are known now
  onDone(() => {
    asked = "";
    later();
  });
}

/** Ask when nothing has changed for a while. */
function later() {
  clearTimeout(timer);
  timer = setTimeout(update, QUIET);
}

/** Ask for the form as it is now; one request is under way at a time, the newest form follows it. */
async function update() {
  if (isAsking) return;
  const request = wantedRequest();
  const json = JSON.stringify(request);
  if (json === asked) return;
  asked = json;
  answer = request && { isCounting: true };
  show();
  if (!request) return;

  isAsking = true;
  try {
    answer = await ask("estimate", request);
  } catch (error) {
    answer = error.refused ? { reason: error.message } : null; // of a server that is away its jobs are told
  } finally {
    isAsking = false;
  }
  show();
  later();
}

/** What of the form changes memory or time; null while it is half filled in. */
function wantedRequest() {
  if (!$("rendering").checkValidity()) return null;
  let request;
  try {
    request = renderRequest();
  } catch {
    return null; // the name of a setting to be varied without its values: `render` says so
  }
  return Object.fromEntries(COUNTED.filter((name) => name in request).map((name) => [name, request[name]]));
}

function show() {
  const lines = answer ? linesOf(answer) : [];
  $("estimate").classList.toggle("warn", answer?.fits === false);
  $("estimate").replaceChildren(...lines.map((line) => make("span", { textContent: line })));
}

function linesOf({ isCounting, memory, free, fits, seconds, reason }) {
  if (isCounting) return [t("Memory: being counted ...")];
  const lines = [];
  if (reason) lines.push(t("Memory: not known before rendering ({reason})", { reason }));
  else if (fits) lines.push(t("Memory: about {memory}", { memory: size(memory) }));
  else lines.push(t("Memory: about {memory}, and {free} are free", { memory: size(memory), free: size(free) }));
  if (seconds != null) lines.push(t("Time: about {time}", { time: duration(seconds) }));
  return lines;
}

const rounded = (number) => new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 2 }).format(number);

function size(bytes) {
  return bytes < 2 ** 30 ? `${rounded(bytes / 2 ** 20)} MiB` : `${rounded(bytes / 2 ** 30)} GiB`;
}

function duration(seconds) {
  if (seconds < 100) return `${rounded(Math.max(1, seconds))} s`;
  return seconds < 6000 ? `${rounded(seconds / 60)} min` : `${rounded(seconds / 3600)} h`;
}
