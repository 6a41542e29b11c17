// The form of a render: model, method and its settings, sampling options.

import { ask, options } from "./client.js";
import { $, fillSelect, make, reporting } from "./dom.js";
import { firstImageRequest, openFirstImage } from "./first_image.js";
import { startJob } from "./job_watch.js";
import { t } from "./language.js";
import { lorasRequest, openLoras } from "./loras.js";
import { chooseMethod, chosenMethod, usualMethod } from "./method_choice.js";
import { bindSizes, loadSizes } from "./sizes.js";
import { addView, draw, state, storyJson } from "./state.js";
import { openTransitions, transitionOptions } from "./transitions.js";
import { SAMPLED, variationOf } from "./variation.js";

const SAMPLING = { guidance: "guidance", fps: "fps", scheduler: "scheduler", negative: "negative-prompt" }; // option: field
const JOINS = ["transitions", "overlap"]; // fields of windows over a story
let model = ""; // the one that is chosen
let opened = {}; // settings of an opened job, until the fields of its method are there

export function bindRenderForm() {
  fillSelect("model", Object.keys(options.models), { title: (name) => options.models[name] });
  fillSelect("method", Object.keys(options.methods), { title: (name) => options.methods[name] });
  fillSelect("second", ["", ...Object.keys(options.methods).filter((name) => name !== "none")]);
  chooseMethod(usualMethod(false));
  takeModel();
  bindSizes();
  $("rendering").onsubmit = reporting(render);
  $("model").onchange = reporting(changeModel);
  for (const id of ["method", "stack"]) $(id).onchange = reporting(loadFields);
  $("transitions").addEventListener("change", draw); // the strip of scenes shows it
  addView(drawForm);
}

/** Another model: its usual method takes the place of the usual one of the model before; a chosen one stays. */
function changeModel() {
  for (const isStory of [false, true]) {
    if (chosenMethod() === usualMethod(isStory, model)) {
      chooseMethod(usualMethod(isStory));
      break;
    }
  }
  takeModel();
  return loadFields();
}

/** An empty field is the model's own value. */
function takeModel() {
  model = $("model").value;
  $("steps").placeholder = options.usual[model]?.steps ?? "";
  $("frames").placeholder = options.usual[model]?.frames ?? "";
}

function drawForm() {
  $("second").options[0].textContent = t("nothing more");
  const isStory = state.story.length > 1;
  $("frames").disabled = isStory;
  $("joins").hidden = !isStory;
  $("frames").title = isStory ? t("A story lasts as long as the seconds of its scenes.") : "";
}

// ---- the method and its settings

/** Show the settings of the chosen method; what somebody changed stays, where the method has it. */
export async function loadFields() {
  const wanted = { model: $("model").value, method: chosenMethod() };
  $("about").textContent = options.methods[wanted.method] ?? "";
  for (const name of JOINS) $(name).placeholder = roundedText(options.layouts[wanted.method]?.[name]);
  draw();
  const [settings] = await Promise.all([ask("fields", wanted), loadSizes()]);

  // a later choice has an answer of its own
  if (wanted.model !== $("model").value || wanted.method !== chosenMethod()) return;

  // only now: what is typed until the answer comes stays too
  const changed = { ...opened, ...changedSettings() };
  opened = {};
  $("setting-names").replaceChildren(...[...SAMPLED, ...settings.map((setting) => setting.path)].map((value) => make("option", { value })));
  $("fields").replaceChildren(...settings.map((setting) => settingField(setting, changed[setting.path] ?? setting.default)));
  $("fields").dataset.method = wanted.method;
}

const roundedText = (number) => (number === undefined ? "" : String(Number(number.toFixed(3))));

function settingField(setting, value) {
  const input = settingInput(setting, value);
  // a setting without a default is an empty field, not a zero
  Object.assign(input.dataset, { path: setting.path, kind: setting.kind, default: setting.default ?? "" });
  const label = make("label", {}, setting.path.replaceAll(".", " · "), input);
  // what the server says of a setting is in English
  const about = `${setting.range}; default ${setting.default ?? "none"}. ${setting.help}`;
  return make("div", { lang: "en" }, label, make("small", { textContent: about }));
}

function settingInput(setting, value) {
  switch (setting.kind) {
    case "switch":
      return make("input", { type: "checkbox", checked: value });
    case "choice": {
      const choice = (name) => make("option", { value: name, textContent: name || t("none"), selected: name === value });
      return make("select", {}, ...setting.choices.map(choice));
    }
    case "text":
      return make("input", { type: "text", value });
    default: {
      const step = setting.kind === "whole" ? 1 : "any";
      const required = setting.default !== null;
      return make("input", { type: "number", required, min: 0, max: setting.most ?? "", step, value: value ?? "" });
    }
  }
}

function changedSettings() {
  const changed = {};
  for (const input of $("fields").querySelectorAll("[data-path]")) {
    const value = settingValue(input);
    if (value !== undefined && String(value) !== input.dataset.default) changed[input.dataset.path] = value;
  }
  return changed;
}

/** A setting's value as its kind has it; undefined where the field is as it was, for an empty number is no zero. */
function settingValue(input) {
  const { kind } = input.dataset;
  if (kind === "switch") return input.checked;
  if (input.value === input.dataset.default) return undefined;
  return kind === "text" || kind === "choice" ? input.value : Number(input.value);
}

// ---- the request

/** What the form asks for, as the values of the endpoint `render`. */
export function renderRequest() {
  const number = (id) => ($(id).value ? Number($(id).value) : null);
  const compared = [$("none").checked ? "none" : "", $("second").value];
  return {
    scene: storyJson(),
    model: $("model").value,
    method: chosenMethod(),
    seed: number("seed") ?? 0,
    steps: number("steps"),
    frames: state.story.length > 1 ? null : number("frames"),
    size: $("size").value,
    settings: changedSettings(),
    compare: compared.filter((name) => name && name !== chosenMethod()),
    attention: $("attention").checked,
    fast: $("fast").checked,
    then: $("then").value,
    takes: number("takes") ?? 1,
    vary: variationOf($("vary").value, $("vary-values").value),
    ...samplingOptions(),
    ...transitionOptions(),
    ...overlapOption(),
    ...firstImageRequest(),
    loras: lorasRequest(),
  };
}

/** The options under "More" that hold something. */
function samplingOptions() {
  const chosen = {};
  for (const [option, id] of Object.entries(SAMPLING)) {
    const text = $(id).value.trim();
    if (text) chosen[option] = $(id).type === "number" ? Number(text) : text;
  }
  return chosen;
}

const overlapOption = () => (state.story.length > 1 && $("overlap").value ? { overlap: Number($("overlap").value) } : {});

const render = () => startJob("render", renderRequest());

/** Fill the form with the request of a job; its method's settings come with `loadFields`. */
export function openRequest(request) {
  const { generation } = request;
  const { sampling, finishing, settings } = generation;
  $("model").value = generation.model;
  takeModel();
  chooseMethod(generation.method);
  for (const id of ["seed", "steps", "frames"]) $(id).value = sampling[id] ?? "";
  for (const [option, id] of Object.entries(SAMPLING)) $(id).value = sampling[option] ?? "";
  $("overlap").value = generation.windows.overlap ?? "";
  openTransitions(generation.windows.transitions);
  $("size").value = sampling.size?.join("x") ?? "";
  $("then").value = finishing.stages;
  $("takes").value = Math.max(1, request.seeds?.length ?? 1);
  $("vary").value = request.vary?.name ?? "";
  $("vary-values").value = request.vary?.values.join(", ") ?? "";
  $("attention").checked = request.attention;
  $("fast").checked = Boolean(sampling.fast);
  $("none").checked = request.compare.includes("none");
  $("second").value = request.compare.find((name) => name !== "none") ?? "";
  openFirstImage(generation);
  openLoras(generation.loras ?? []);
  $("fields").replaceChildren();
  delete $("fields").dataset.method;
  opened = settings;
}
