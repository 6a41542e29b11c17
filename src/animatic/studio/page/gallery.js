// The gallery: all jobs, searched, opened again, and two of them compared.

import { ask } from "./client.js";
import { $, make, notifyError, reporting } from "./dom.js";
import { openStory } from "./files.js";
import { bindFolders, folderMenu, loadFolders, makeDraggable, shownFolder } from "./folders.js";
import { addLanguageView, t } from "./language.js";
import { cardTools, showCounts } from "./projects.js";
import { loadFields, openRequest } from "./render_form.js";
import { figuresOf, playbackControls, showResult } from "./results.js";
import { bestTake } from "./takes.js";

const compared = new Map(); // at most two jobs, by id

export function bindGallery() {
  bindFolders(() => loadGallery());
  $("search").oninput = reporting(() => loadGallery());
  $("more").onclick = reporting(() => loadGallery($("cards").children.length));
  addLanguageView(() => { if (!$("gallery").hidden) showPage("gallery"); });
  $("to-studio").onclick = () => showPage("studio");
  $("to-gallery").onclick = () => showPage("gallery");
}

/** Show the studio or the gallery. */
export function showPage(shown) {
  for (const name of ["studio", "gallery"]) {
    $(name).hidden = name !== shown;
    $(`to-${name}`).ariaPressed = String(name === shown);
  }
  if (shown === "gallery") loadGallery().catch(notifyError);
}

/** Show the jobs that the search finds, or those from number `first` on below the ones that are shown. */
export async function loadGallery(first = 0) {
  await loadFolders();
  const wanted = { search: $("search").value, favourites: $("favourites").checked, folder: shownFolder() };
  const { count, jobs } = await ask("gallery", { ...wanted, first });
  if (!first) $("cards").replaceChildren();
  $("cards").append(...jobs.map(card));
  if (!count) {
    const isPart = wanted.search || wanted.favourites || wanted.folder !== null;
    const text = isPart ? t("Nothing found.") : t("Nothing was rendered yet.");
    $("cards").append(make("li", { textContent: text }));
  }
  $("more").hidden = first + jobs.length >= count;
  await showCounts();
}

function card(job) {
  const { generation, story } = job.request;
  const prompts = story.scenes.map((scene) => scene.prompt).join(" / ");
  const day = job.id.replace(/(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d).*/, "$1-$2-$3 $4:$5");
  const made = t("{method}, {model}, seed {seed}; {day}", { ...generation, seed: generation.sampling.seed, day });
  const about = job.files.length > 1 ? `${made}; ${t("{count} takes", { count: job.files.length })}` : made;

  const open = make("button", { textContent: t("Open"), ariaLabel: t("Open the scene: {prompts}", { prompts }), onclick: () => openJob(job) });
  const mark = make("button", { textContent: t("Compare"), ariaLabel: t("Compare: {prompts}", { prompts }), disabled: job.state !== "done" });
  mark.ariaPressed = String(compared.has(job.id));
  mark.onclick = () => toggleCompared(job);
  mark.dataset.id = job.id;

  const seen = picture(job, prompts);
  const item = make("li", {},
    seen,
    make("p", { textContent: prompts }),
    make("span", { className: "hint", textContent: about }),
    make("div", { className: "bar" }, open, mark, ...cardTools(job, prompts)),
    folderMenu(job, prompts));
  makeDraggable(item, seen, job);
  return item;
}

/** The best video of a job, which plays under the pointer; its state where it has none. */
function picture(job, label) {
  const src = job.files[bestTake(job)]?.mp4;
  if (!src) return make("div", { className: "empty", textContent: t(job.state), title: job.message });
  const video = make("video", { src, muted: true, loop: true, playsInline: true, preload: "metadata", ariaLabel: label });
  video.onmouseenter = () => video.play().catch(() => {}); // the pointer may leave before it has begun
  video.onmouseleave = () => video.pause();
  return video;
}

/** Show a job's story and request in the studio, and its videos where it has them. */
function openJob(job) {
  openStory(job.request.story);
  showPage("studio");
  if (job.files.length) showResult(job);
  else $("result").hidden = true;
  openRequest(job.request); // says what it cannot open, after what is said of the video
  loadFields().catch(notifyError);
}

// ---- two jobs compared

function toggleCompared(job) {
  if (!compared.delete(job.id)) compared.set(job.id, job);
  if (compared.size > 2) compared.delete(compared.keys().next().value);
  for (const mark of document.querySelectorAll("#cards [data-id]")) mark.ariaPressed = String(compared.has(mark.dataset.id));
  showCompared();
}

function showCompared() {
  const root = $("compared");
  if (compared.size < 2) {
    root.replaceChildren();
    return;
  }
  const figures = [...compared.values()].flatMap((job, i) => figuresOf({ ...job, files: [job.files[bestTake(job)]] }, `${"AB"[i]}: `));
  const bar = make("div", { className: "bar" });
  root.replaceChildren(make("div", { className: "versions" }, ...figures), bar);
  bar.append(...playbackControls(root));
}
