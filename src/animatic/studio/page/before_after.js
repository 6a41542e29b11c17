// Two videos over one another: a slider that uncovers the one below, or the difference of both.

import { ask } from "./client.js";
import { make, reporting } from "./dom.js";
import { t } from "./language.js";
import { takeName } from "./takes.js";

const DRIFT = 0.04; // of the video's length that the second may be behind the first

/** What can be laid over one another in a job, as [name, address of the video]: its takes, and what it was made from. */
async function choices(job) {
  const takes = job.files.map((file, i) => [takeName(job, i), file.mp4]).filter((take, i) => !job.marks?.[i]?.deleted);
  if (!job.request.source) return takes;
  const [id, version] = job.request.source;
  try {
    const source = await ask("status", { id });
    return [...takes, [t("before: {name}", { name: takeName(source, version) }), source.files[version].mp4]];
  } catch (error) {
    if (error.refused) return takes; // what it was made from was deleted
    throw error;
  }
}

/** A part of the result that compares two of its videos; it is filled when it is opened. */
export function beforeAfter(job) {
  const details = make("details", { className: "before-after" }, make("summary", { textContent: t("Before and after") }));
  details.addEventListener("toggle", reporting(async () => {
    if (!details.open || details.childElementCount > 1) return;
    const videos = await choices(job);
    if (videos.length > 1) details.append(...comparison(videos));
    else details.append(make("p", { className: "hint", textContent: t("There is one video; two can be compared.") }));
  }));
  return details;
}

function comparison(videos) {
  const select = (chosen) => make("select", {}, ...videos.map(([name], i) => make("option", { value: i, textContent: name, selected: i === chosen })));
  const left = select(videos.length - 1), right = select(0);
  const [below, above] = [t("Before"), t("After")].map((ariaLabel) => make("video", { muted: true, loop: true, playsInline: true, ariaLabel }));
  above.className = "above";
  const slider = make("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: t("How much of the left video is shown") });
  const difference = make("input", { type: "checkbox" });
  const screen = make("div", { className: "screen" }, below, above);

  const show = () => {
    slider.disabled = difference.checked;
    above.classList.toggle("difference", difference.checked);
    above.style.clipPath = difference.checked ? "none" : `inset(0 0 0 ${slider.value}%)`;
  };
  const load = () => {
    below.src = videos[left.value][1];
    above.src = videos[right.value][1];
    below.play().catch(() => {}); // the browser may want a click first; both stand at their first frame
  };
  slider.oninput = difference.onchange = show;
  left.onchange = right.onchange = load;
  together(screen, below, above);
  show();
  load();
  const bar = make("div", { className: "row" }, make("label", {}, t("Left"), left), make("label", {}, t("Right"), right));
  return [bar, make("figure", {}, screen, slider), make("label", { className: "check" }, difference, t("difference"))];
}

/** Keep the second video at the place of the first, whatever their lengths. */
function together(root, first, second) {
  let wasShown = false;
  const tick = () => {
    if (wasShown && !root.isConnected) return; // it was taken off the page
    wasShown ||= root.isConnected;
    if (first.duration && second.duration && !second.seeking) {
      const place = first.currentTime / first.duration;
      if (Math.abs(place - second.currentTime / second.duration) > DRIFT) second.currentTime = place * second.duration;
      if (first.paused === second.paused) { /* both as they should be */ }
      else if (first.paused) second.pause();
      else second.play().catch(() => {});
    }
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}
