// The takes of a job: under each its seed, what is varied and how often objects are in their boxes; marks, notes, deletion.

import { ask } from "./client.js";
import { make, notify, reporting } from "./dom.js";
import { startJob } from "./job_watch.js";
import { t } from "./language.js";

const MORE = 4; // takes that one click asks for

/** What a take is called: its method, and by what it differs from the others of its job. */
export function takeName(job, take) {
  const { method, setting, seed } = job.files[take];
  const hasSeeds = new Set(job.files.map((file) => file.seed)).size > 1;
  return [method, setting, hasSeeds && t("seed {seed}", { seed })].filter(Boolean).join(", ");
}

/** The take that stands for a job: the best, else the first that was not deleted. */
export function bestTake(job) {
  const marks = job.files.map((_, take) => job.marks[take] ?? {});
  const pinned = marks.findIndex((mark) => mark.pinned);
  return pinned >= 0 ? pinned : Math.max(0, marks.findIndex((mark) => !mark.deleted));
}

/** How often the objects of a take are in their boxes; nothing where that was not measured. */
export function boxScore(job, take) {
  const score = job.files[take].in_box;
  if (score === undefined) return [];
  const percent = Math.round(Number(score) * 100);
  const title = t("Of the planned boxes so many have their object's centre inside, as a detector finds it.");
  return [make("span", { className: "hint score", textContent: t("in box {percent} %", { percent }), title })];
}

/** Let a take be marked, by buttons in its figure; `figures` is the element with the figures of all takes. */
export function takeTools(job, take, figures) {
  const name = takeName(job, take);
  const toggle = (mark, text) => {
    const button = make("button", { textContent: text, ariaLabel: `${text}: ${name}` });
    button.dataset.mark = mark;
    button.onclick = reporting(() => setMark({ [mark]: button.ariaPressed !== "true" }));
    return button;
  };
  const setMark = async (values) => takeMarks(job, figures, (await ask("mark", { id: job.id, take, ...values })).marks);

  const note = make("input", { maxLength: 2000, placeholder: t("note"), ariaLabel: `${t("Note")}: ${name}`, autocomplete: "off" });
  note.dataset.note = "";
  note.onchange = reporting(() => setMark({ note: note.value.trim() }));

  const more = make("button", { textContent: t("More like this"), ariaLabel: `${t("More like this")}: ${name}` });
  more.onclick = reporting(() => startJob("more", { id: job.id, take, takes: MORE }));
  more.hidden = job.action !== "render";
  const remove = make("button", { textContent: t("Delete"), ariaLabel: `${t("Delete")}: ${name}` });
  remove.onclick = reporting(() => deleteTake(job, take, figures));
  const marks = [toggle("pinned", t("Best")), toggle("favourite", t("Favourite"))];
  return make("div", { className: "tools" },
    make("div", { className: "bar" }, ...marks, more),
    make("div", { className: "bar" }, note, remove));
}

async function deleteTake(job, take, figures) {
  await ask("delete", { id: job.id, take });
  takeMarks(job, figures, job.marks.map((mark, i) => (i === take ? { ...mark, deleted: true, pinned: false } : mark)));
  const restore = reporting(async () => {
    const { marks } = await ask("restore", { id: job.id, take });
    takeMarks(job, figures, marks);
  });
  notify(t("Deleted: {name}.", { name: takeName(job, take) }), { action: { label: t("Undo"), run: restore } });
}

/** Keep new marks with their job and show them; the lists of its takes go to the one that now stands for it. */
function takeMarks(job, figures, marks) {
  const before = bestTake(job);
  job.marks = marks;
  showMarks(figures, marks);
  const best = bestTake(job);
  if (best === before) return;
  for (const list of document.querySelectorAll("#result [data-takes]")) list.value = best;
}

/** A list of a job's takes, at the one that stands for it. */
export function takeList(job) {
  const best = bestTake(job);
  const option = (_, value) => make("option", { value, textContent: takeName(job, value), selected: value === best });
  const list = make("select", {}, ...job.files.map(option));
  list.dataset.takes = "";
  return list;
}

/** Show the marks of a job's takes in their figures: the best stands first, deleted ones are hidden. */
export function showMarks(figures, marks) {
  for (const figure of figures.querySelectorAll("[data-take]")) {
    const mark = marks[figure.dataset.take] ?? {};
    figure.hidden = Boolean(mark.deleted);
    figure.classList.toggle("best", Boolean(mark.pinned));
    for (const button of figure.querySelectorAll("[data-mark]")) button.ariaPressed = String(Boolean(mark[button.dataset.mark]));
    for (const note of figure.querySelectorAll("[data-note]")) note.value = mark.note ?? "";
  }
}
