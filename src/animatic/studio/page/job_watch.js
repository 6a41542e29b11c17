// A job at work: started, watched until it is done, cancelled; it is found again after the page was closed.

import { ask } from "./client.js";
import { $, notify, notifyError, reporting } from "./dom.js";
import { t } from "./language.js";

const JOB = "animatic.job"; // of localStorage: the job that is watched
const INTERVAL = 350, AWAY = 2000; // milliseconds between two questions, and where the server did not answer
const listeners = [];

/** Have `listener(job)` called with each job that made something: one that was stopped may have. */
export const onDone = (listener) => listeners.push(listener);

export function bindJobWatch() {
  // a preview that is not there, or not yet, is no broken picture
  $("preview").onload = () => { $("preview").hidden = false; };
  $("preview").onerror = () => { $("preview").hidden = true; };
  $("cancel").onclick = reporting(async () => {
    $("cancel").disabled = true;
    await ask("cancel", { id: localStorage.getItem(JOB) });
  });
}

/** Queue a job by an endpoint that returns a status, and watch it. */
export async function startJob(endpoint, values) {
  const job = await ask(endpoint, values);
  localStorage.setItem(JOB, job.id);
  await watch(job.id);
}

/** Watch the job of the last visit, if it was not done. */
export async function resumeWatch() {
  const id = localStorage.getItem(JOB);
  if (id) await watch(id);
}

async function watch(id) {
  $("render").disabled = true;
  $("progress").hidden = false;
  $("preview").hidden = true;
  $("cancel").disabled = false;
  try {
    const job = await ended(id);
    if (job.files.length) listeners.forEach((listener) => listener(job));
    if (job.state === "failed") notifyError(job);
    if (job.state === "cancelled") notify(t("Stopped."));
  } finally {
    localStorage.removeItem(JOB);
    $("render").disabled = false;
    $("progress").hidden = true;
    $("bar").value = 0;
  }
}

/** The status of a job when it has ended; shows its progress until then. */
async function ended(id) {
  let preview = 0;
  for (;;) {
    const job = await statusOf(id);
    if (job.state === "waiting") showPlace(job.place);
    else if (job.state === "running") preview = showProgress(job, preview);
    else if (job.state !== "away") return job;
    await new Promise((next) => setTimeout(next, job.state === "away" ? AWAY : INTERVAL));
  }
}

/** A job's status, "away" while the server does not answer: it may come back, and the job with it. */
async function statusOf(id) {
  try {
    return await ask("status", { id });
  } catch (error) {
    if (error.refused) throw error;
    notifyError(error);
    return { state: "away" };
  }
}

function showPlace(place) {
  $("eta").textContent = place === 1 ? t("next in the queue") : t("{count} before it in the queue", { count: place - 1 });
}

/** Show the steps and the newest preview; returns the number of the preview that is shown. */
function showProgress(job, shown) {
  const { done, count } = job;
  const rest = t("step {done} of {count}, {rest} s left", { done, count, rest: Math.ceil(job.rest) });
  $("eta").textContent = job.rest == null ? t("begins") : rest;
  $("bar").value = job.count ? job.done / job.count : 0;
  // another source would cut off what still loads
  if (job.preview <= shown || !$("preview").complete) return shown;
  $("preview").src = `/preview/${job.id}?n=${job.preview}`;
  return job.preview;
}
