// The LoRAs of a render: which of those that may be requested, each with its strength; own ones are sent and deleted.

import { ask, options, send } from "./client.js";
import { $, make, notify, reporting } from "./dom.js";
import { addLanguageView, t } from "./language.js";

const STEP = 0.05; // of a strength
const chosen = new Map(); // strengths as they were typed, of those that are ticked, by `keyOf`

export function bindLoras() {
  $("lora-file").onchange = reporting(sendLora);
  addLanguageView(draw);
  draw();
}

/** What a render reads of this part of the form: NAME:STRENGTH or NAME:STRENGTH:NETWORK of each. */
export function lorasRequest() {
  const ticked = options.loras.filter((lora) => chosen.has(keyOf(lora)));
  return ticked.map((lora) => [lora.name, Number(chosen.get(keyOf(lora))), ...(lora.network ? [lora.network] : [])].join(":"));
}

/** Show those of a job, [name, strength, network] each; one that is no longer here is said. */
export function openLoras(loras) {
  chosen.clear();
  const missing = [];
  for (const [name, strength, network] of loras) {
    const named = options.loras.filter((lora) => lora.name === name);
    const known = named.find((lora) => lora.network === network) ?? named[0];
    if (known) chosen.set(keyOf(known), strength);
    else missing.push(name);
  }
  draw();
  if (missing.length) notify(t("No longer here: {names}. The video would be made without.", { names: missing.join(", ") }), { bad: true });
}

const keyOf = ({ name, network }) => `${name}:${network}`;

function draw() {
  $("lora-names").replaceChildren(...options.loras.map(rowOf));
}

function rowOf(lora) {
  const key = keyOf(lora);
  const box = make("input", { type: "checkbox", checked: chosen.has(key) });
  const strength = strengthInput(lora, chosen.get(key) ?? lora.scale);
  strength.disabled = !box.checked;
  strength.oninput = () => chosen.set(key, strength.value);
  box.onchange = () => {
    strength.disabled = !box.checked;
    if (box.checked) chosen.set(key, strength.value);
    else chosen.delete(key);
  };

  const label = lora.label + (lora.network && ` (${lora.network})`);
  const row = make("div", { className: "bar lora" }, make("label", { className: "check" }, box, label), strength);
  if (lora.own) {
    const remove = make("button", { type: "button", textContent: t("Delete"), ariaLabel: `${t("Delete")}: ${lora.label}` });
    remove.onclick = reporting(() => deleteLora(lora));
    row.append(remove);
  }
  return row;
}

function strengthInput(lora, value) {
  const most = Math.max(options.limits.lora_scale, Math.abs(lora.scale));
  // that of the start, or of a job of the API, may lie between the steps
  const steps = Number(value) / STEP;
  const step = Math.abs(steps - Math.round(steps)) < 1e-6 ? STEP : "any";
  const title = `${t("Strength")}: ${lora.label}`;
  return make("input", { type: "number", min: -most, max: most, step, value, required: true, title, ariaLabel: title });
}

async function sendLora(event) {
  const file = event.target.files[0];
  event.target.value = ""; // so that the same file can be chosen again
  if (!file) return;
  const path = `/lora?name=${encodeURIComponent(file.name)}`;
  const { loras } = await send(path, file, "application/octet-stream", options.limits.lora);
  options.loras = loras;
  draw();
  notify(t("Read {file}.", { file: file.name }));
}

async function deleteLora(lora) {
  const { loras } = await ask("delete_lora", { name: lora.name });
  options.loras = loras;
  chosen.delete(keyOf(lora));
  draw();
  $("lora-file").focus(); // the button that had it is gone
  $("rendering").dispatchEvent(new Event("change")); // what a render takes is counted anew
}
