// Jobs of this page: started, watched until they are done, cancelled; they are found again after the page was closed.

import { ask } from "./client.js";
import { $, notify, notifyError, reporting } from "./dom.js";
import { t } from "./language.js";
import { showQueue } from "./queue.js";

const JOBS = "animatic.jobs"; // of localStorage: the jobs that are watched
const INTERVAL = 350, IDLE = 2000, AWAY = 2000; // milliseconds between two questions; where only others' jobs wait; where there was no answer
const listeners = [];
const watched = []; // names of this page's jobs, in the order they were started
let front = ""; // the one whose progress is shown
let preview = 0; // number of the preview that is shown
let loop = null; // the promise of the loop that watches, while there is something to watch
let wake = () => {}; // ends the loop's pause

/** Have `listener(job)` called with each job that made something: one that was stopped may have. */
export const onDone = (listener) => listeners.push(listener);

export function bindJobWatch() {
  // a preview that is not there, or not yet, is no broken picture
  $("preview").onload = () => { $("preview").hidden = false; };
  $("preview").onerror = () => { $("preview").hidden = true; };
  $("cancel").onclick = reporting(async () => {
    $("cancel").disabled = true;
    await ask("cancel", { id: front });
  });
}

/** Queue a job by an endpoint that returns a status, and watch it until it has ended. */
export async function startJob(endpoint, values) {
  $("render").disabled = true; // until it is queued: a double click means one job
  try {
    const job = await ask(endpoint, values);
    keep(job.id);
    if (watched.length > 1) notify(t("Queued."));
  } finally {
    $("render").disabled = false;
  }
  wake();
  await follow();
}

/** Watch the jobs of the last visit that were not done, and show what waits. */
export async function resumeWatch() {
  keptJobs().forEach(keep);
  await follow();
}

function keptJobs() {
  try {
    return JSON.parse(localStorage.getItem(JOBS)) ?? [];
  } catch {
    return []; // somebody else's words
  }
}

function keep(id) {
  if (!watched.includes(id)) watched.push(id);
  localStorage.setItem(JOBS, JSON.stringify([...new Set([...keptJobs(), id])]));
}

function forget(id) {
  watched.splice(watched.indexOf(id), 1);
  localStorage.setItem(JOBS, JSON.stringify(keptJobs().filter((other) => other !== id)));
}

const follow = () => (loop ??= watch().finally(() => { loop = null; }));

/** Ask for the queue, and for what has left it, as long as something is in it or watched. */
async function watch() {
  for (;;) {
    let pause = watched.length ? INTERVAL : IDLE;
    try {
      const { jobs } = await ask("queue");
      showQueue(jobs);
      showFront(jobs);
      const left = watched.filter((id) => !jobs.some((job) => job.id === id));
      for (const id of left) await close(id);
      if (!jobs.length && !watched.length) return;
    } catch (error) {
      if (error.refused) throw error;
      notifyError(error); // it may come back, and the jobs with it
      pause = AWAY;
    }
    await new Promise((next) => {
      wake = next;
      setTimeout(next, pause);
    });
  }
}

/** Say what became of a job that is no longer in the queue. */
async function close(id) {
  let job;
  try {
    job = await ask("status", { id });
  } catch (error) {
    if (!error.refused) throw error;
    forget(id); // it was deleted
    notifyError(error);
    showFront([]);
    return;
  }
  if (job.state === "waiting" || job.state === "running") return;
  forget(id);
  if (job.files.length) listeners.forEach((listener) => listener(job));
  if (job.state === "failed") notifyError(job);
  if (job.state === "cancelled") notify(t("Stopped."));
  if (!watched.length) showFront([]);
}

/** Show how far this page's next job is. */
function showFront(jobs) {
  const job = jobs.find((each) => watched.includes(each.id));
  $("progress").hidden = !watched.length;
  if (!job || job.id !== front) {
    front = job?.id ?? "";
    preview = 0;
    $("bar").value = 0;
    $("preview").hidden = true;
    $("cancel").disabled = !job;
  }
  if (job?.state === "waiting") showPlace(job.place);
  if (job?.state === "running") preview = showProgress(job, preview);
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
