// A finished job: its videos with their boxes, and what can be done to them.

import { attentionOverlay } from "./attention_overlay.js";
import { beforeAfter } from "./before_after.js";
import { showBoxes } from "./boxes.js";
import { options } from "./client.js";
import { $, make, notify, reporting } from "./dom.js";
import { sceneAt } from "./geometry.js";
import { startJob } from "./job_watch.js";
import { addLanguageView, t } from "./language.js";
import { showUnderStage } from "./player.js";
import { scenesOf } from "./state.js";
import { bestTake, boxScore, showMarks, takeList, takeName, takeTools } from "./takes.js";
import { moreForm } from "./variation.js";

const LOOP = { muted: true, loop: true, playsInline: true, autoplay: true };
const MAPS = ["attention", "heat"]; // kinds of files that show attention
const promptsOf = (job) => job.request.story.scenes.map((scene) => scene.prompt).join(" / ");

let shown = null; // the job whose result is on the page
let earlier = null; // the job of the same story by another method whose result was there before

export function bindResults() {
  addLanguageView(() => { if (shown) drawResult(shown); });
}

/** Show what was just made; next to it the result before, where that is the same story by another method. */
export function showNewResult(job) {
  const before = $("result").hidden ? null : shown;
  showResult(job, before && isOtherMethod(before, job) ? before : null);
}

function isOtherMethod(before, job) {
  const isRender = before.action === "render" && job.action === "render";
  const hasStory = JSON.stringify(before.request.story.scenes) === JSON.stringify(job.request.story.scenes);
  const { method, seed } = before.files[bestTake(before)];
  return isRender && hasStory && !job.files.some((file) => file.method === method && file.seed === seed)
    && before.request.generation.method !== job.request.generation.method;
}

export function showResult(job, before = null) {
  shown = job;
  earlier = before;
  drawResult(job);
  showUnderStage(job.files[bestTake(job)].mp4);
  $("result").hidden = false;
  $("result").scrollIntoView({ behavior: "smooth", block: "nearest" });
  notify(t("The video is ready."));
}

function drawResult(job) {
  const { model, sampling } = job.request.generation;
  const made = t("{model}, seed {seed}, {seconds} s", { model, seed: sampling.seed, seconds: job.seconds });
  const about = [made, job.message].filter(Boolean).join("; ");
  const result = $("result");
  const bar = make("div", { className: "bar" });
  const figures = make("div", { className: "versions" }, ...figuresOf(job));
  figures.querySelectorAll("[data-take]").forEach((figure) => figure.append(takeTools(job, Number(figure.dataset.take), figures)));
  showMarks(figures, job.marks);
  if (earlier) figures.append(...earlierFigures(earlier));
  result.replaceChildren(
    make("h2", { textContent: promptsOf(job) }),
    make("p", { className: "hint", textContent: about }),
    figures,
    bar,
    beforeAfter(job),
    ...(job.action === "render" ? [moreForm(job)] : []),
    finishForm(job),
    editForm(job),
  );
  bar.append(...playbackControls(figures));
}

// ---- videos

/** Figures of a job's videos and attention maps; `tag` stands before their methods. */
export function figuresOf(job, tag = "") {
  const videos = job.files.map((file, take) => videoFigure(job, take, tag));
  const maps = job.files.flatMap((file) => {
    const kinds = Object.keys(file).filter((kind) => MAPS.includes(kind));
    return kinds.map((kind) => mapFigure(file[kind], tag));
  });
  return [...videos, ...maps];
}

/** The take that stands for the job before; it is marked where it was made. */
function earlierFigures(job) {
  const figures = figuresOf({ ...job, files: [job.files[bestTake(job)]] }, t("before: {name}", { name: "" }));
  for (const figure of figures) delete figure.dataset.take;
  return figures;
}

function videoFigure(job, take, tag) {
  const file = job.files[take], label = takeName(job, take);
  const [first] = job.request.story.scenes;
  const name = first.prompt.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 50);
  const parts = [name, file.method, file.setting?.replace(/[^\w.]+/g, "-"), new Set(job.files.map((each) => each.seed)).size > 1 && `seed${file.seed}`];
  const download = parts.filter(Boolean).join("-");
  const link = (kind) => make("a", { href: file[kind], textContent: kind, download: `${download}.${kind}` });
  const links = ["mp4", "gif", "json"].map(link);
  const caption = make("figcaption", {}, make("strong", { textContent: tag + label }), ...boxScore(job, take), ...links);
  const figure = make("figure", {}, videoWithBoxes(file.mp4, job.request.story, t("Video made by {method}", { method: label })), caption);
  figure.dataset.take = take;
  if (file.maps) figure.append(attentionOverlay(figure.querySelector(".screen"), file.maps));
  return figure;
}

function mapFigure(src, tag) {
  const video = make("video", { src, ...LOOP, ariaLabel: t("Attention map") });
  const caption = make("figcaption", {}, make("strong", { textContent: tag + t("attention to its words") }));
  return make("figure", {}, make("div", { className: "screen" }, video), caption);
}

/** A video with its story's boxes over it, in time with it. */
function videoWithBoxes(src, story, label) {
  const video = make("video", { src, ...LOOP, ariaLabel: label });
  const over = make("div", { className: "over" });
  const frame = make("div", { className: "screen" }, video, over);
  const scenes = scenesOf(story);
  let wasShown = false;
  const tick = () => {
    if (wasShown && !frame.isConnected) return; // it was taken off the page
    wasShown ||= frame.isConnected;
    const [index, time] = sceneAt(scenes, video.duration ? video.currentTime / video.duration : 0);
    showBoxes(over, scenes[index], time);
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  return frame;
}

/** Controls of all videos in `root` at once. */
export function playbackControls(root) {
  const videos = () => root.querySelectorAll("video");
  const boxes = make("input", { type: "checkbox", checked: true });
  boxes.onchange = () => root.querySelectorAll(".over").forEach((over) => { over.hidden = !boxes.checked; });

  const pause = make("button", { textContent: t("Pause") });
  let isPaused = false;
  pause.onclick = () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? t("Play") : t("Pause");
    videos().forEach((video) => (isPaused ? video.pause() : video.play().catch(() => {}))); // a pause may come before it has begun
  };
  const restart = make("button", { textContent: t("From the start") });
  restart.onclick = () => videos().forEach((video) => { video.currentTime = 0; });
  return [make("label", { className: "check" }, boxes, t("boxes")), pause, restart];
}

// ---- what follows

const field = (label, input) => make("label", {}, label, input);
const textInput = (placeholder) => make("input", { placeholder, maxLength: 80, autocomplete: "off" });

/** Finish one of a job's videos. */
function finishForm(job) {
  const version = takeList(job);
  const finishes = Object.entries(options.finishes);
  const then = make("select", {}, ...finishes.map(([value, textContent]) => make("option", { value, textContent: t(textContent) })));
  const submit = () => startJob("finish", { id: job.id, version: Number(version.value), then: then.value });
  const form = make("form", { className: "row after", ariaLabel: t("Finish"), onsubmit: reporting(submit) });
  form.append(field(t("Finish"), version), field(t("How"), then), make("button", { textContent: t("Finish") }));
  return form;
}

/** Make a job's scene again with other words; of a render, with the seed and settings of one of its takes. */
function editForm(job) {
  const [from, to, word] = ["bear", "cat", "red"].map(textInput);
  const factor = make("input", { type: "number", required: true, step: "0.1", value: "2" });
  const take = job.action === "render" ? takeList(job) : null;
  const submit = () => {
    const swap = from.value.trim() ? { [from.value.trim()]: to.value.trim() } : {};
    const weight = word.value.trim() ? { [word.value.trim()]: Number(factor.value) } : {};
    return startJob("edit", { id: job.id, swap, weight, take: take && Number(take.value) });
  };
  const form = make("form", { className: "row after", ariaLabel: t("Edit"), onsubmit: reporting(submit) });
  if (take) form.append(field(t("Edit"), take));
  form.append(field(t("Swap"), from), field(t("for"), to), field(t("Weigh"), word), field(t("by"), factor));
  form.append(make("button", { textContent: t("Edit") }));
  return form;
}
