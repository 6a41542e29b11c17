// The folders of the gallery: shown one at a time, created, renamed, exported, deleted with undo; cards are moved into them.

import { ask } from "./client.js";
import { $, make, notify, reporting } from "./dom.js";
import { dragElement } from "./dragging.js";
import { addLanguageView, t } from "./language.js";
import { chosenWith, exportJobs } from "./projects.js";

const ALL = null, NONE = ""; // what is shown where it is no folder: every job, those in none

let folders = []; // as the endpoint `folders` has them
let shown = ALL;
let reload = async () => {};

/** `load()` shows the gallery anew. */
export function bindFolders(load) {
  reload = load;
  $("folder-form").onsubmit = reporting(create);
  $("folder-rename").onclick = reporting(rename);
  $("folder-export").onclick = reporting(exportFolder);
  $("folder-delete").onclick = reporting(remove);
  addLanguageView(draw);
}

/** What the gallery is to show: the name of a folder, "" for what is in none, null for everything. */
export const shownFolder = () => shown;

export async function loadFolders() {
  ({ folders } = await ask("folders"));
  if (shown && !folders.some((folder) => folder.name === shown)) shown = ALL; // somebody removed it
  draw();
}

function draw() {
  const entries = [[ALL, t("All")], ...folders.map(({ name, jobs }) => [name, `${name} (${jobs.length})`])];
  if (folders.length) entries.push([NONE, t("In no folder")]);
  const focus = document.activeElement?.dataset?.focus;
  $("folders").replaceChildren(...entries.map(entry));
  if (focus) $("folders").querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
  for (const id of ["folder-rename", "folder-export", "folder-delete"]) $(id).hidden = !shown;
}

function entry([name, text]) {
  const button = make("button", { type: "button", textContent: text, ariaPressed: String(name === shown) });
  if (name !== ALL) button.dataset.folder = name;
  button.dataset.focus = `folder ${name}`;
  button.onclick = reporting(() => show(name));
  return button;
}

async function show(name) {
  shown = name;
  $("folder-name").value = name ?? "";
  await reload();
}

// ---- a card of the gallery

/** A list of the folders, at the one that a job is in. */
export function folderMenu(job, prompts) {
  const names = folders.map((folder) => folder.name);
  const option = (name) => make("option", { value: name, textContent: name || t("no folder"), selected: name === job.folder });
  const menu = make("select", { ariaLabel: `${t("Folder")}: ${prompts}` }, ...[NONE, ...names].map(option));
  menu.hidden = !folders.length;
  menu.onchange = reporting(() => move(job, menu.value));
  return menu;
}

/** Let a card be dragged into a folder, by its picture. */
export function makeDraggable(card, handle, job) {
  handle.onpointerdown = (event) => {
    let goal = null;
    const step = (next) => {
      goal?.classList.remove("target");
      goal = document.elementsFromPoint(next.clientX, next.clientY).find((element) => element.dataset.folder !== undefined);
      goal?.classList.add("target");
    };
    const end = reporting(async (isDropped) => {
      goal?.classList.remove("target");
      if (isDropped && goal) await move(job, goal.dataset.folder);
    });
    dragElement(event, card, "xy", step, end);
  };
}

/** Put a job into a folder, and with one that is ticked all that are. */
async function move(job, folder) {
  await ask("put_in_folder", { jobs: chosenWith(job.id), folder });
  await reload();
}

// ---- a folder

async function create() {
  const name = $("folder-name").value;
  await ask("create_folder", { name });
  $("folder-name").value = "";
  await reload();
}

async function rename() {
  const to = $("folder-name").value;
  const before = new Set(folders.map((folder) => folder.name));
  const renamed = await ask("rename_folder", { name: shown, to });
  // as the server keeps it, without space around it
  const name = renamed.folders.map((folder) => folder.name).find((each) => !before.has(each));
  await show(name ?? shown);
}

function exportFolder() {
  const { with_videos: jobs } = folders.find((folder) => folder.name === shown);
  if (!jobs.length) throw new Error(t("There is no video in this folder."));
  exportJobs(jobs, `${shown}.zip`);
}

async function remove() {
  const folder = await ask("delete_folder", { name: shown });
  await show(ALL);
  const restore = reporting(async () => {
    await ask("create_folder", folder);
    await reload();
  });
  notify(t("Deleted: {name}.", { name: folder.name }), { action: { label: t("Undo"), run: restore } });
}
