// What waits to be rendered, of all visitors: put earlier or later, or removed.

import { ask } from "./client.js";
import { $, make, reporting } from "./dom.js";
import { dragElement, middlesOf, placeAmong } from "./dragging.js";
import { t } from "./language.js";

const nameOf = (job) => job.request.story.scenes.map((scene) => scene.prompt).join(" / ");

let drawn = ""; // what the list shows, so that it is made anew only where something has changed

/** Show the jobs that wait, of those in the queue. */
export function showQueue(jobs) {
  const waiting = jobs.filter((job) => job.state === "waiting");
  $("queue").hidden = !waiting.length;
  const shown = JSON.stringify([document.documentElement.lang, waiting.map((job) => job.id)]);
  if (shown === drawn) return;
  drawn = shown;

  // a button that was pressed keeps the focus, at the new place of its job
  const focus = document.activeElement?.dataset?.focus;
  $("waiting").replaceChildren(...waiting.map((job, i) => item(job, i + 1, waiting.length)));
  if (focus) $("waiting").querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

function item(job, place, count) {
  const name = nameOf(job);
  const { method, model } = job.request.generation;
  const button = (sign, label, disabled, run) => {
    const made = make("button", { type: "button", textContent: sign, ariaLabel: label, title: label, ariaDisabled: String(disabled) });
    made.onclick = reporting(() => (disabled ? null : run()));
    made.dataset.focus = `queue ${job.id} ${sign}`;
    return made;
  };
  const move = async (to) => showQueue((await ask("move", { id: job.id, place: to })).jobs);
  const remove = async () => {
    await ask("cancel", { id: job.id });
    showQueue((await ask("queue")).jobs);
  };
  const entry = make("li", {},
    make("p", { onpointerdown: (event) => dragEntry(event, entry, place - 1, move) }, name, make("br"), make("span", { className: "hint", textContent: [method, model].join(", ") })),
    button("↑", t("Earlier: {name}", { name }), place === 1, () => move(place - 1)),
    button("↓", t("Later: {name}", { name }), place === count, () => move(place + 1)),
    button("×", t("Remove from the queue: {name}", { name }), false, remove));
  return entry;
}

/** Drag an entry along the list; its job takes the place where the pointer lets it go. */
function dragEntry(event, entry, i, move) {
  const middles = middlesOf($("waiting").children, "y");
  let goal = i;
  const step = (_, shift) => { goal = placeAmong(middles, i, shift.y); };
  const end = reporting(async (isDropped) => {
    if (isDropped && goal !== i) await move(goal + 1);
  });
  dragElement(event, entry, "y", step, end);
}
