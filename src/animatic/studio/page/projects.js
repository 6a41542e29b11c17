// Jobs of the gallery as projects: chosen, written to one file, read from one; deleted and brought back.

import { ask, options, send } from "./client.js";
import { $, make, notify, reporting } from "./dom.js";
import { t } from "./language.js";

const chosen = new Set(); // ids of jobs
let reload = async () => {};

/** `load()` shows the gallery anew. */
export function bindProjects(load) {
  reload = load;
  $("favourites").onchange = reporting(reload);
  $("project-export").onclick = reporting(exportProject);
  $("project-import").onclick = () => $("project-file").click();
  $("project-file").onchange = reporting(importProject);
  $("trash-restore").onclick = reporting(restoreLast);
  $("trash-empty").onclick = reporting(emptyTrash);
}

/** A job, with those that are ticked where it is one of them. */
export const chosenWith = (id) => (chosen.has(id) ? [...chosen] : [id]);

/** What a card of the gallery has for its job: whether it is chosen, and a button that deletes it. */
export function cardTools(job, prompts) {
  const box = make("input", { type: "checkbox", checked: chosen.has(job.id), disabled: !job.files.length });
  box.title = box.disabled ? t("There is no video in this job.") : "";
  box.onchange = () => {
    if (box.checked) chosen.add(job.id); else chosen.delete(job.id);
    showChosen();
  };
  box.ariaLabel = `${t("Choose")}: ${prompts}`;
  const remove = make("button", { textContent: t("Delete"), ariaLabel: `${t("Delete")}: ${prompts}` });
  remove.disabled = ["waiting", "running"].includes(job.state);
  remove.onclick = reporting(() => deleteJob(job));
  return [remove, box];
}

function showChosen() {
  const hint = chosen.size ? "" : t("Tick the videos that the project is to have.");
  $("project-export").disabled = !chosen.size;
  $("project-export").title = hint;
  $("project-hint").textContent = hint;
  $("project-export").textContent = chosen.size ? t("Export project ({count})", { count: chosen.size }) : t("Export project");
}

async function deleteJob(job) {
  await ask("delete", { id: job.id });
  chosen.delete(job.id);
  await reload();
  notify(t("Moved to the trash."), { action: { label: t("Undo"), run: reporting(() => restore(job.id)) } });
}

async function restore(id) {
  await ask("restore", { id });
  await reload();
}

/** Show how many jobs are chosen, and how many are in the trash. */
export async function showCounts() {
  showChosen();
  const { jobs } = await ask("trash");
  $("trash").hidden = !jobs.length;
  $("trash-count").textContent = t("In the trash: {count}", { count: jobs.length });
}

async function restoreLast() {
  const { jobs } = await ask("trash");
  if (jobs.length) await restore(jobs.at(-1));
}

/** What is removed for good is asked for twice: the button says so first. */
async function emptyTrash() {
  const button = $("trash-empty");
  if (button.dataset.sure !== "yes") {
    button.dataset.sure = "yes";
    button.textContent = t("Remove for good?");
    return;
  }
  button.dataset.sure = "";
  button.textContent = t("Empty the trash");
  const { count } = await ask("empty_trash");
  await showCounts();
  notify(t("{count} removed.", { count }));
}

const exportProject = () => exportJobs([...chosen], "animatic-project.zip");

/** Hand jobs to the person as one file. */
export function exportJobs(jobs, name) {
  const most = options.limits.project_jobs;
  if (jobs.length > most) throw new Error(t("{count} videos; at most {most} in one file", { count: jobs.length, most }));
  make("a", { href: `/project/${jobs.join(",")}`, download: name }).click();
}

async function importProject(event) {
  const file = event.target.files[0];
  event.target.value = ""; // so that the same file can be chosen again
  if (!file) return;
  await send("/project", file, "application/zip", options.limits.project);
  await reload();
  notify(t("Read {file}.", { file: file.name }));
}
