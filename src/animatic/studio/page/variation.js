// One setting varied over a row: its name and the values that it takes, in the form and for a take that was made.

import { make, reporting } from "./dom.js";
import { startJob } from "./job_watch.js";
import { t } from "./language.js";
import { takeList } from "./takes.js";

export const SAMPLED = ["guidance", "steps", "scheduler", "negative"]; // can be varied beside a method's settings

/** Values that were typed with commas between them: numbers, true and false, else words. */
export function parseValues(text) {
  const words = text.split(",").map((word) => word.trim()).filter(Boolean);
  return words.map((word) => {
    if (word === "true" || word === "false") return word === "true";
    return Number.isNaN(Number(word)) ? word : Number(word);
  });
}

/** What two fields ask for, as the server's `vary`; null where both are empty. Throws where one of them is. */
export function variationOf(name, values) {
  const parsed = parseValues(values);
  if (!name.trim() && !parsed.length) return null;
  if (!name.trim() || !parsed.length) throw new Error(t("to vary a setting takes its name and values, such as guidance and 3, 6, 9"));
  return { name: name.trim(), values: parsed };
}

/** Make one of a job's takes again: with the seeds that follow, or from its seed with several values of a setting. */
export function moreForm(job) {
  const take = takeList(job);
  const count = make("input", { type: "number", min: 1, max: 16, step: 1, value: 4, required: true });
  const name = make("input", { placeholder: "guidance", maxLength: 80, autocomplete: "off" });
  const values = make("input", { placeholder: "3, 6, 9", maxLength: 400, autocomplete: "off" });
  name.setAttribute("list", "setting-names");

  const submit = () => {
    const vary = variationOf(name.value, values.value);
    return startJob("more", { id: job.id, take: Number(take.value), takes: Number(count.value), vary });
  };
  const field = (label, input) => make("label", {}, label, input);
  return make("form", { className: "row after", ariaLabel: t("More like this"), onsubmit: reporting(submit) },
    field(t("More like"), take), field(t("Takes"), count), field(t("or vary"), name), field(t("over"), values),
    make("button", { textContent: t("Render") }));
}
