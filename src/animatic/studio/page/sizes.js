// Sizes that suit the chosen model, as a list that fills the field of the size; any other can be typed there.

import { ask } from "./client.js";
import { $, make } from "./dom.js";
import { addLanguageView, t } from "./language.js";

let presets = []; // of the chosen model, its own size first
let model = "";

export function bindSizes() {
  $("shape").onchange = () => {
    if ($("shape").selectedIndex === presets.length) $("size").focus();
    else $("size").value = $("shape").value;
  };
  $("size").addEventListener("input", select);
  addLanguageView(draw);
}

/** Offer the sizes of the model that is chosen now. */
export async function loadSizes() {
  const wanted = $("model").value;
  if (wanted === model) {
    select();
    return;
  }
  const found = await ask("sizes", { model: wanted });
  if (wanted !== $("model").value) return; // another one was chosen meanwhile
  presets = found;
  model = wanted;
  $("size").placeholder = textOf(presets[0]);
  draw();
}

const textOf = ({ width, height }) => `${width}x${height}`;

function draw() {
  const options = presets.map((preset, i) => {
    const text = textOf(preset);
    // an empty field is the model's own size
    return make("option", { value: i ? text : "", textContent: `${t(preset.name)}: ${text}` });
  });
  const other = make("option", { value: "", textContent: t("another size") });
  $("shape").replaceChildren(...options, other);
  select();
}

/** Show in the list which of its sizes the field holds. */
function select() {
  const text = $("size").value.trim();
  const found = presets.findIndex((preset, i) => text === textOf(preset) || (i === 0 && !text));
  $("shape").selectedIndex = found < 0 ? presets.length : found;
}
