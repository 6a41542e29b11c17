// What joins two scenes of a story: the method's own mix of words, a mix over more windows, a cut, or a crossfade.
//
// A scene has it as `join`, an entry of the text that `render` takes: "2", "cut", "crossfade:8"; "" is the story's number.

import { options } from "./client.js";
import { $, make } from "./dom.js";
import { t } from "./language.js";
import { chosenMethod } from "./method_choice.js";
import { change, state } from "./state.js";

const FRAMES = 4; // of a crossfade, at first

/** {kind, count}: "" is the story's own number, "mix" so many windows, "cut", "crossfade" over so many frames. */
function parsed(join = "") {
  if (join === "" || join === "cut") return { kind: join, count: 0 };
  const [kind, frames] = join.split(":");
  return kind === "crossfade" ? { kind, count: Number(frames) } : { kind: "mix", count: Number(join) };
}

const written = (kind, count) => ({ "": "", cut: "cut", mix: String(count), crossfade: `crossfade:${count}` })[kind];

/** The number of mixed windows where a scene does not say otherwise: the one under "More", else the method's. */
const storyNumber = () => Number($("transitions").value || (layout()?.transitions ?? 1));

const layout = () => options.layouts[chosenMethod()];

/** What stands between scene `i` and the one before: a list, and a number where it has one. */
export function joinOf(i) {
  const scene = state.story[i];
  const { kind, count } = parsed(scene.join);
  const names = { "": t("mix: {count}", { count: storyNumber() }), mix: t("mix over ..."), cut: t("cut"), crossfade: t("crossfade") };
  const kinds = layout()?.by_count ? ["", "mix"] : Object.keys(names);
  const list = make("select", {}, ...kinds.map((value) => make("option", { value, textContent: names[value], selected: value === kind })));
  list.ariaLabel = t("From scene {before} to scene {after}", { before: i, after: i + 1 });
  list.title = t("Mix: windows between two scenes that are given a mix of both prompts");
  list.dataset.focus = `join ${i}`;
  list.onchange = () => setJoin(scene, written(list.value, list.value === "crossfade" ? FRAMES : storyNumber()));

  const number = make("input", { type: "number", required: true, min: kind === "crossfade" ? 1 : 0, max: 100, step: 1, value: count });
  number.hidden = kind !== "mix" && kind !== "crossfade";
  const unit = kind === "crossfade" ? t("Frames") : t("Windows");
  number.ariaLabel = t("{unit} from scene {before} to scene {after}", { unit, before: i, after: i + 1 });
  number.title = unit;
  number.dataset.focus = `join number ${i}`;
  number.onchange = () => {
    if (number.reportValidity()) setJoin(scene, written(kind, Number(number.value)));
  };
  return make("div", { className: "join" }, list, number);
}

const setJoin = (scene, join) => change(() => { scene.join = join; });

/** The option `transitions` of `render`: nothing where all is as the method has it. */
export function transitionOptions() {
  const joins = state.story.slice(1).map((scene) => scene.join || "");
  if (!joins.length || (joins.every((join) => !join) && !$("transitions").value)) return {};
  if (joins.every((join) => !join)) return { transitions: storyNumber() };
  return { transitions: joins.map((join) => join || String(storyNumber())).join(",") };
}

/** Show what an opened request has, at the scenes that were opened with it. */
export function openTransitions(value) {
  const isText = typeof value === "string";
  $("transitions").value = isText ? "" : value ?? "";
  const joins = isText ? value.split(",").map((join) => join.trim()) : [];
  state.story.slice(1).forEach((scene, i) => { scene.join = joins.length === 1 ? joins[0] : joins[i] ?? ""; });
}
