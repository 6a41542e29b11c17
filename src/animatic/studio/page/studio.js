// The studio's page: a story of scenes, drawn and edited; what it asks of the server stands in `ask`.
// One state, one way to change it (`change`), one way to show it (`draw`).

const $ = (id) => document.getElementById(id);
const make = (tag, set = {}, ...inside) => { const e = Object.assign(document.createElement(tag), set); e.append(...inside); return e; };
const clamp = (v, low = 0, high = 1) => Math.min(high, Math.max(low, v));
const round = (v) => Math.round(v * 1000) / 1000;
const copy = (v) => JSON.parse(JSON.stringify(v));

async function ask(endpoint, words = {}) {
  let answer;
  try {
    answer = await fetch(`/api/${endpoint}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(words) });
  } catch { throw new Error("the server does not answer; your scene is kept in this browser"); }
  const reply = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(reply.error), { refused: true });
  return reply;
}

function say(words, bad = false, action = null) {
  const box = make("div", { className: bad ? "message bad" : "message" }, make("span", { textContent: words }));
  if (action) box.append(make("button", { textContent: action.label, onclick: () => { action.run(); box.remove(); } }));
  box.append(make("button", { textContent: "Close", onclick: () => box.remove() }));
  $("messages").replaceChildren(box);
  if (!bad && !action) setTimeout(() => box.remove(), 5000);
}
const trying = (work) => async (event) => { event?.preventDefault?.(); try { await work(event); } catch (error) { say(error.message, true); } };

// ---- the story and its history

const blank = () => ({ prompt: $("prompt").value || "A bear", tracks: [], background: "", negative: "", seconds: 2, reasoning: "" });
const state = { story: [], at: 0, key: 0, track: 0, past: [], future: [] };
let options;

const scene = () => state.story[state.at];
const keys = (s = scene()) => s.tracks[0]?.boxes.length ?? 1;
const hue = (i) => options.palette[i % options.palette.length];

function change(edit) {
  state.past.push(JSON.stringify(state.story));
  if (state.past.length > 200) state.past.shift();
  state.future = [];
  edit();
  keep();
  draw();
}

function travel(from, to) {
  if (!from.length) return;
  to.push(JSON.stringify(state.story));
  state.story = JSON.parse(from.pop());
  keep();
  draw();
}

const STORE = "animatic.story", JOB = "animatic.job";
const keep = () => localStorage.setItem(STORE, JSON.stringify(state.story));
const scenesOf = (json) => (json.scenes ?? [json]).map(({ version, ...s }) => ({ ...blank(), ...s }));
const telling = () => ({ version: 1, scenes: state.story });

window.addEventListener("storage", (event) => {
  if (event.key !== STORE || !event.newValue || event.newValue === JSON.stringify(state.story)) return;
  say("This story was changed in another tab. Yours is kept here until you change it.", false,
    { label: "Take the other", run: () => change(() => { state.story = JSON.parse(event.newValue); }) });
});

// ---- drawing

/** Boxes of a scene at a time 0..1: linear between key frames, the nearer one where either is absent. */
function boxesAt(s, t) {
  return s.tracks.map(({ boxes }) => {
    const at = t * (boxes.length - 1), low = Math.min(Math.floor(at), boxes.length - 1), part = at - low;
    const a = boxes[low], b = boxes[Math.min(low + 1, boxes.length - 1)];
    return a && b ? a.map((v, i) => v + (b[i] - v) * part) : part < 0.5 ? a : b;
  });
}

function place(element, [x0, y0, x1, y1]) {
  Object.assign(element.style, { left: `${x0 * 100}%`, top: `${y0 * 100}%`, width: `${(x1 - x0) * 100}%`, height: `${(y1 - y0) * 100}%` });
}

function boxOf(phrase, i, box) {
  const element = make("div", { className: "box" }, make("b", { textContent: phrase }));
  element.style.setProperty("--hue", hue(i));
  place(element, box);
  return element;
}

/** The boxes of a scene at a time, in elements that stay while the scene does. */
function lay(root, s, t) {
  if (root.scene !== s) {
    root.scene = s;
    root.replaceChildren(...s.tracks.map((track, i) => boxOf(track.phrase, i, [0, 0, 0, 0])));
  }
  boxesAt(s, t).forEach((box, i) => {
    root.children[i].hidden = !box;
    if (box) place(root.children[i], box);
  });
}

function draw() {
  state.at = clamp(state.at, 0, state.story.length - 1);
  const s = scene(), n = keys();
  state.key = clamp(state.key, 0, n - 1);
  state.track = clamp(state.track, 0, Math.max(0, s.tracks.length - 1));
  const focus = document.activeElement?.dataset?.focus;
  drawTabs();
  drawStage(s, n);
  drawTracks(s);
  drawKeys(s, n);
  for (const id of ["background", "negative", "seconds"]) $(id).value = s[id];
  $("undo").disabled = !state.past.length;
  $("redo").disabled = !state.future.length;
  $("key-remove").disabled = n < 2;
  $("key-add").disabled = !s.tracks.length || n >= options.limits.keys;
  $("frames").disabled = state.story.length > 1;
  $("frames").title = state.story.length > 1 ? "A story lasts as long as the seconds of its scenes." : "";
  if (focus) document.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

function drawTabs() {
  const tabs = state.story.map((s, i) => make("button", {
    textContent: `Scene ${i + 1}`, title: s.prompt, ariaPressed: String(i === state.at),
    onclick: () => { stop(); state.at = i; $("prompt").value = scene().prompt; draw(); },
  }));
  const more = make("button", { textContent: "+", ariaLabel: "Add a scene", disabled: state.story.length >= options.limits.scenes,
    onclick: () => change(() => { state.story.splice(state.at + 1, 0, copy(scene())); state.at += 1; }) });
  const less = make("button", { textContent: "−", ariaLabel: "Remove this scene", hidden: state.story.length < 2,
    onclick: () => change(() => { state.story.splice(state.at, 1); }) });
  $("tabs").replaceChildren(...tabs.flatMap((t) => [t, " "]), more, " ", less);
}

// never as HTML: the page's policy lets no text become markup
function drawn(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function drawStage(s, n) {
  const path = drawn("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  const chosen = s.tracks[state.track];
  if (chosen) {
    const line = { stroke: hue(state.track), "vector-effect": "non-scaling-stroke" };
    const middles = chosen.boxes.filter(Boolean).map((b) => [(b[0] + b[2]) * 50, (b[1] + b[3]) * 50]);
    const beside = [state.key - 1, state.key + 1].map((k) => chosen.boxes[k]).filter(Boolean);
    path.append(
      ...beside.map((b) => drawn("rect", { x: b[0] * 100, y: b[1] * 100, width: (b[2] - b[0]) * 100,
        height: (b[3] - b[1]) * 100, fill: "none", "stroke-opacity": ".3", "stroke-dasharray": "4 4", ...line })),
      drawn("polyline", { points: middles.map((m) => m.join()).join(" "), fill: "none", "stroke-opacity": ".5", ...line }),
      ...middles.map(([x, y]) => drawn("path", { d: `M${x} ${y}h0`, "stroke-width": "7", "stroke-linecap": "round",
        "stroke-opacity": ".6", ...line })));
  }
  const boxes = s.tracks.flatMap((track, i) => {
    const box = track.boxes[state.key];
    return box ? [live(track, i, box)] : [];
  });
  $("stage").ariaLabel = `Stage, key frame ${state.key + 1} of ${n}`;
  $("stage").style.aspectRatio = `${options.size.width} / ${options.size.height}`;
  $("stage").scene = null;
  $("stage").replaceChildren(path, ...boxes);
  seek(n > 1 ? state.key / (n - 1) : 0);
}

/** A box that can be taken: by its middle to move it, by a corner to resize it, by the keyboard. */
function live(track, i, box) {
  const element = boxOf(track.phrase, i, box);
  const [x, y, w, h] = [box[0], box[1], box[2] - box[0], box[3] - box[1]].map((v) => Math.round(v * 100));
  Object.assign(element, { tabIndex: 0, role: "button", ariaLabel: `${track.phrase}: left ${x} %, top ${y} %, ${w} % wide, ${h} % high`, ariaCurrent: String(i === state.track) });
  element.dataset.focus = `box ${i}`;
  element.append(...["nw", "ne", "sw", "se"].map((corner) => make("i", { className: corner })));
  element.onpointerdown = (event) => { event.stopPropagation(); element.focus(); drag(event, i, element, event.target.closest("i")?.className ?? ""); };
  element.onfocus = () => { if (state.track !== i) { state.track = i; draw(); } };
  element.onkeydown = (event) => nudge(event, i);
  return element;
}

const at = (event) => { const r = $("stage").getBoundingClientRect(); return [(event.clientX - r.left) / r.width, (event.clientY - r.top) / r.height]; };
const sorted = ([x0, y0, x1, y1]) => [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)].map((v) => round(clamp(v)));

function moved(box, dx, dy) {
  const x = clamp(box[0] + dx, 0, 1 - (box[2] - box[0])), y = clamp(box[1] + dy, 0, 1 - (box[3] - box[1]));
  return [x, y, x + box[2] - box[0], y + box[3] - box[1]].map(round);
}

function pulled(box, corner, dx, dy) {
  const b = [...box];
  b[corner.includes("w") ? 0 : 2] += dx;
  b[corner.includes("n") ? 1 : 3] += dy;
  const next = sorted(b);
  return next[2] - next[0] >= 0.02 && next[3] - next[1] >= 0.02 ? next : box;
}

function drag(event, i, element, corner) {
  const from = at(event), box = scene().tracks[i].boxes[state.key];
  let next = box;
  state.track = i;
  follow(event, (now) => {
    const [dx, dy] = [now[0] - from[0], now[1] - from[1]];
    next = corner ? pulled(box, corner, dx, dy) : moved(box, dx, dy);
    place(element, next);
  }, () => (String(next) === String(box) ? draw() : change(() => { scene().tracks[i].boxes[state.key] = next; })));
}

function follow(event, step, end) {
  const target = $("stage");
  target.setPointerCapture(event.pointerId);
  target.onpointermove = (e) => step(at(e));
  target.onpointerup = target.onpointercancel = () => { target.onpointermove = target.onpointerup = target.onpointercancel = null; end(); };
}

$("stage").onpointerdown = (event) => {
  if (event.button) return;
  stop();
  const from = at(event);
  const shape = boxOf("new", scene().tracks.length, [0, 0, 0, 0]);
  let next = null;
  follow(event, (now) => {
    if (!shape.isConnected) $("stage").append(shape);
    next = sorted([...from, ...now]);
    place(shape, next);
  }, () => (next && next[2] - next[0] > 0.02 && next[3] - next[1] > 0.02 ? add(next) : draw()));
};

function add(box = [0.35, 0.35, 0.65, 0.65]) {
  if (scene().tracks.length >= options.limits.tracks) { draw(); return say(`at most ${options.limits.tracks} objects here`, true); }
  const taken = scene().tracks.map((t) => t.phrase);
  const phrase = options.words.find((w) => scene().prompt.toLowerCase().includes(w) && !taken.includes(w)) ?? "thing";
  change(() => {
    scene().tracks.push({ phrase, boxes: Array(keys()).fill(box), prompt: "" });
    state.track = scene().tracks.length - 1;
  });
  const name = document.querySelector(`[data-focus="name ${state.track}"]`);
  name.focus();
  name.select();
}

function nudge(event, i) {
  const step = event.shiftKey ? 0.05 : 0.01;
  const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  const box = scene().tracks[i].boxes[state.key];
  if (by) change(() => { scene().tracks[i].boxes[state.key] = event.altKey ? pulled(box, "se", ...by) : moved(box, ...by); });
  else if (event.key === "Delete" || event.key === "Backspace") remove(i);
  else if (event.key.toLowerCase() === "h" && !event.ctrlKey) hide(i);
  else return;
  event.preventDefault();
}

const remove = (i) => change(() => { scene().tracks.splice(i, 1); });

function hide(i, k = state.key) {
  const { boxes } = scene().tracks[i];
  const near = [...boxes.keys()].filter((j) => boxes[j]).sort((a, b) => Math.abs(a - k) - Math.abs(b - k))[0];
  change(() => { boxes[k] = boxes[k] ? null : copy(boxes[near] ?? [0.35, 0.35, 0.65, 0.65]); });
}

function drawTracks(s) {
  $("tracks").replaceChildren(...s.tracks.map((track, i) => {
    const shown = Boolean(track.boxes[state.key]);
    const name = make("input", { value: track.phrase, ariaLabel: `Name of thing ${i + 1}`, maxLength: 200, onfocus: () => { state.track = i; },
      onchange: (e) => (e.target.value.trim() ? change(() => { track.phrase = e.target.value.trim(); }) : draw()) });
    name.setAttribute("list", "nouns");
    name.dataset.focus = `name ${i}`;
    const toggle = make("button", { textContent: shown ? "Hide" : "Show", ariaLabel: `${shown ? "Hide" : "Show"} ${track.phrase} on this key frame`, onclick: () => hide(i) });
    toggle.dataset.focus = `hide ${i}`;
    const row = make("li", {}, name, toggle, make("button", { textContent: "✕", ariaLabel: `Remove ${track.phrase}`, onclick: () => remove(i) }));
    row.style.setProperty("--hue", hue(i));
    return row;
  }));
}

function drawKeys(s, n) {
  const head = make("tr", {}, make("th", { textContent: "Key frames", scope: "col" }), ...Array.from({ length: n }, (_, k) => {
    const button = make("button", { textContent: k + 1, ariaLabel: `Key frame ${k + 1}`, ariaPressed: String(k === state.key), onclick: () => go(k) });
    button.dataset.focus = `key ${k}`;
    return make("th", { scope: "col" }, button);
  }));
  const rows = s.tracks.map((track, i) => {
    const cells = track.boxes.map((box, k) => {
      const button = make("button", { ariaLabel: `${track.phrase}, key frame ${k + 1}, ${box ? "shown" : "hidden"}; press H to change`,
        onclick: () => { state.track = i; go(k); }, onkeydown: (e) => { if (e.key.toLowerCase() === "h") hide(i, k); } });
      button.dataset.shown = Boolean(box);
      button.dataset.focus = `cell ${i} ${k}`;
      return make("td", { className: k === state.key && i === state.track ? "now" : "" }, button);
    });
    const row = make("tr", {}, make("th", { textContent: track.phrase, scope: "row" }), ...cells);
    row.style.setProperty("--hue", hue(i));
    return row;
  });
  $("keys").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

function go(k) { stop(); state.key = k; draw(); }

// ---- the last video, under the boxes

/** Put the first video of a result under the stage. */
function layUnder(job) {
  $("latest").src = job.files[0].mp4;
  $("under").hidden = false;
  toggle();
}

function toggle() {
  $("latest").hidden = !$("latest-shown").checked || !$("latest").src;
  seek(keys() > 1 ? state.key / (keys() - 1) : 0);
}

/** Show the frame of the video at a time 0..1 of this scene; scenes follow each other as long as their seconds. */
function seek(t) {
  const video = $("latest");
  if (video.hidden || !video.duration) return;
  const lengths = state.story.map((s) => s.seconds || 1), total = lengths.reduce((sum, s) => sum + s, 0);
  const before = lengths.slice(0, state.at).reduce((sum, s) => sum + s, 0);
  // The last moment of a video has no frame.
  video.currentTime = Math.min(((before + t * lengths[state.at]) / total) * video.duration, video.duration - 0.01);
}

// ---- playing as an animatic

let playing = 0;
function play() {
  if (playing) return stop();
  const began = performance.now(), length = Math.max(0.5, scene().seconds) * 1000;
  $("play").ariaPressed = "true";
  $("play").textContent = "Stop";
  const tick = (now) => {
    const t = ((now - began) % (length + 400)) / length;
    lay($("stage"), scene(), clamp(t));
    seek(clamp(t));
    $("clock").textContent = `${(clamp(t) * length / 1000).toFixed(1)} s`;
    playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
}
function stop() {
  if (!playing) return;
  cancelAnimationFrame(playing);
  playing = 0;
  $("play").ariaPressed = "false";
  $("play").textContent = "Play";
  $("clock").textContent = "";
  draw();
}

// ---- rendering

let changed = {}; // settings to be shown as soon as the method's fields are there

/** The method: one of the list, or several that were typed with plus signs. */
const method = () => $("stack").value.trim() || $("method").value;

function choose(name) {
  const listed = name in options.methods;
  $("stack").value = listed ? "" : name;
  if (listed) $("method").value = name;
}

async function fields() {
  const before = { ...changed, ...settings() };
  changed = {};
  $("about").textContent = options.methods[method()] ?? "";
  const found = await ask("fields", { model: $("model").value, method: method() });
  $("fields").replaceChildren(...found.map((f) => {
    const value = before[f.path] ?? f.default; // what somebody changed stays changed; a default is that of the method
    const input = f.kind === "switch" ? make("input", { type: "checkbox", checked: value })
      : f.kind === "choice" ? make("select", {}, ...f.choices.map((c) => make("option", { value: c, textContent: c || "none", selected: c === value })))
      : f.kind === "text" ? make("input", { type: "text", value })
      : make("input", { type: "number", required: f.default !== null, min: 0, max: f.most ?? "", step: f.kind === "whole" ? 1 : "any", value: value ?? "" });
    Object.assign(input.dataset, { path: f.path, kind: f.kind, default: f.default ?? "" }); // no default: an empty field
    const label = make("label", {}, f.path.replaceAll(".", " · "), input);
    return make("div", {}, label, make("small", { textContent: `${f.range}; default ${f.default ?? "none"}. ${f.help}` }));
  }));
}

function settings() {
  const chosen = {};
  for (const input of $("fields").querySelectorAll("[data-path]")) {
    const kind = input.dataset.kind;
    if (kind !== "switch" && input.value === input.dataset.default) continue; // an empty number is no zero
    const value = kind === "switch" ? input.checked : kind === "text" || kind === "choice" ? input.value : Number(input.value);
    if (String(value) !== input.dataset.default) chosen[input.dataset.path] = value;
  }
  return chosen;
}

const MORE = { guidance: "guidance", fps: "fps", scheduler: "scheduler", negative: "negative-prompt" };  // fields by option

/** The options under "More" that hold something; an empty field is the model's own value. */
function sampling() {
  const chosen = { then: $("then").value };
  for (const [option, id] of Object.entries(MORE)) {
    const text = $(id).value.trim();
    if (text) chosen[option] = $(id).type === "number" ? Number(text) : text;
  }
  return chosen;
}

async function render() {
  const number = (id) => ($(id).value ? Number($(id).value) : null);
  const story = state.story.length > 1;
  const compare = [$("none").checked ? "none" : "", $("second").value].filter((m) => m && m !== method());
  const job = await ask("render", {
    scene: telling(), model: $("model").value, method: method(), seed: number("seed") ?? 0, steps: number("steps"),
    frames: story ? null : number("frames"), size: $("size").value, settings: settings(), compare, attention: $("attention").checked,
    ...sampling(),
  });
  localStorage.setItem(JOB, job.id);
  await watch(job.id);
}

async function watch(id) {
  let shown = 0;
  $("render").disabled = true;
  $("progress").hidden = false;
  $("preview").hidden = true;
  $("cancel").disabled = false;
  try {
    for (;;) {
      const job = await ask("status", { id }).catch((error) => {
        if (error.refused) throw error;
        say(error.message, true);
        return { state: "away" };
      });
      if (job.state === "waiting") $("eta").textContent = job.place === 1 ? "next in the queue" : `${job.place - 1} before it in the queue`;
      else if (job.state === "running") shown = progress(job, shown);
      else if (job.state === "done") return show(job);
      else if (job.state !== "away") return say(job.state === "failed" ? job.message : "Stopped.", job.state === "failed");
      await new Promise((next) => setTimeout(next, job.state === "away" ? 2000 : 350));
    }
  } finally {
    localStorage.removeItem(JOB);
    $("render").disabled = false;
    $("progress").hidden = true;
    $("bar").value = 0;
  }
}

function progress(job, shown) {
  $("eta").textContent = job.rest == null ? "begins" : `step ${job.done} of ${job.count}, ${Math.ceil(job.rest)} s left`;
  $("bar").value = job.count ? job.done / job.count : 0;
  if (job.preview <= shown || !$("preview").complete) return shown; // another source would cut off what still loads
  $("preview").src = `/preview/${job.id}?n=${job.preview}`;
  return job.preview;
}
$("preview").onload = () => { $("preview").hidden = false; };
$("preview").onerror = () => { $("preview").hidden = true; };

// ---- results

/** A video with its boxes over it, which can be switched off. */
function screen(src, story, label) {
  const video = make("video", { src, muted: true, loop: true, playsInline: true, autoplay: true, ariaLabel: label });
  const over = make("div", { className: "over" });
  const frame = make("div", { className: "screen" }, video, over);
  const scenes = scenesOf(story);
  const lengths = scenes.map((s) => s.seconds || 1), total = lengths.reduce((sum, s) => sum + s, 0);
  const tick = () => {
    if (!frame.isConnected && frame.dataset.seen) return;
    if (frame.isConnected) frame.dataset.seen = "1";
    let t = video.duration ? (video.currentTime / video.duration) * total : 0, which = 0;
    while (which < scenes.length - 1 && t >= lengths[which]) t -= lengths[which++];
    lay(over, scenes[which], clamp(t / lengths[which]));
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  return frame;
}

const nameOf = (job) => job.request.story.scenes[0].prompt.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 50);

function versions(job, tag = "") {
  const videos = job.files.map((made) => {
    const link = (kind) => make("a", { href: made[kind], textContent: kind, download: `${nameOf(job)}-${made.method}.${kind}` });
    const caption = make("figcaption", {}, make("strong", { textContent: tag + made.method }), ...["mp4", "gif", "json"].map(link));
    return make("figure", {}, screen(made.mp4, job.request.story, `Video made by ${made.method}`), caption);
  });
  const maps = job.files.flatMap((made) => Object.keys(made).filter((k) => k === "attention" || k === "heat").map((k) => make("figure", {},
    make("div", { className: "screen" }, make("video", { src: made[k], muted: true, loop: true, playsInline: true, autoplay: true, ariaLabel: "Attention map" })),
    make("figcaption", {}, make("strong", { textContent: tag + "attention to its words" })))));
  return [...videos, ...maps];
}

function controlsOf(root) {
  const videos = () => [...root.querySelectorAll("video")];
  const boxes = make("input", { type: "checkbox", checked: true, onchange: (e) => root.querySelectorAll(".over").forEach((o) => { o.hidden = !e.target.checked; }) });
  const pause = make("button", { textContent: "Pause", onclick: () => {
    const paused = pause.textContent === "Pause";
    pause.textContent = paused ? "Play" : "Pause";
    videos().forEach((v) => (paused ? v.pause() : v.play()));
  } });
  const together = make("button", { textContent: "From the start", onclick: () => videos().forEach((v) => { v.currentTime = 0; }) });
  return [make("label", { className: "check" }, boxes, "boxes"), pause, together];
}

function show(job) {
  const result = $("result");
  const title = make("h2", { textContent: job.request.story.scenes.map((s) => s.prompt).join(" / ") });
  const about = make("p", { className: "hint", textContent: [`${job.request.generation.model}, seed ${job.request.generation.sampling.seed}, ${job.seconds} s`, job.message].filter(Boolean).join("; ") });
  const tools = make("div", { className: "bar" });
  result.replaceChildren(title, about, make("div", { className: "versions" }, ...versions(job)), tools);
  tools.append(...controlsOf(result));
  result.append(...going(job));
  layUnder(job);
  result.hidden = false;
  result.scrollIntoView({ behavior: "smooth", block: "nearest" });
  say("The video is ready.");
}

/** What can be done to a result: finish a video of it, or make its scene again with other words. */
function going(job) {
  const field = (label, input) => make("label", {}, label, input);
  const text = (placeholder) => make("input", { placeholder, maxLength: 80, autocomplete: "off" });
  const which = make("select", {}, ...job.files.map((made, i) => make("option", { value: i, textContent: made.method })));
  const then = make("select", {}, ...Object.entries(options.finishes).map(([value, textContent]) => make("option", { value, textContent })));
  const [from, to, word] = [text("bear"), text("cat"), text("red")];
  const factor = make("input", { type: "number", required: true, step: "0.1", value: "2" });
  const begin = (endpoint, options) => trying(async () => {
    const next = await ask(endpoint, { id: job.id, ...options() });
    localStorage.setItem(JOB, next.id);
    await watch(next.id);
  });
  const edits = () => ({
    swap: from.value.trim() ? { [from.value.trim()]: to.value.trim() } : {},
    weight: word.value.trim() ? { [word.value.trim()]: Number(factor.value) } : {},
  });
  const finish = make("form", { className: "row after", ariaLabel: "Finish", onsubmit: begin("finish", () => ({ version: Number(which.value), then: then.value })) },
    field("Finish", which), field("How", then), make("button", { textContent: "Finish" }));
  const edit = make("form", { className: "row after", ariaLabel: "Edit", onsubmit: begin("edit", edits) },
    field("Swap", from), field("for", to), field("Weigh", word), field("by", factor), make("button", { textContent: "Edit" }));
  return [finish, edit];
}

// ---- the gallery

const compared = new Map();

async function gallery(first = 0) {
  const { count, jobs } = await ask("gallery", { search: $("search").value, first });
  const cards = jobs.map(card);
  if (first) $("cards").append(...cards); else $("cards").replaceChildren(...cards);
  if (!count) $("cards").replaceChildren(make("li", { textContent: $("search").value ? "Nothing found." : "Nothing was rendered yet." }));
  $("more").hidden = first + jobs.length >= count;
}

function card(job) {
  const video = job.files[0]?.mp4;
  const words = job.request.story.scenes.map((s) => s.prompt).join(" / ");
  const picture = video
    ? make("video", { src: video, muted: true, loop: true, playsInline: true, preload: "metadata", ariaLabel: words, onmouseenter: (e) => e.target.play(), onmouseleave: (e) => e.target.pause() })
    : make("div", { className: "empty", textContent: job.state, title: job.message });
  const open = make("button", { textContent: "Open", ariaLabel: `Open the scene: ${words}`, onclick: () => {
    change(() => { state.story = scenesOf(job.request.story); state.at = 0; });
    const { model, method, sampling, finishing } = job.request.generation;
    Object.assign($("model"), { value: model });
    choose(method);
    for (const id of ["seed", "steps", "frames"]) $(id).value = sampling[id] ?? "";
    for (const [option, id] of Object.entries(MORE)) $(id).value = sampling[option] ?? "";
    $("size").value = sampling.size?.join("x") ?? "";
    $("then").value = finishing.stages;
    $("attention").checked = job.request.attention;
    $("none").checked = job.request.compare.includes("none");
    $("second").value = job.request.compare.find((m) => m !== "none") ?? "";
    $("fields").replaceChildren();
    changed = job.request.generation.settings;
    $("prompt").value = scene().prompt;
    turn("studio");
    if (job.state === "done") show(job); else $("result").hidden = true;
    fields().catch((error) => say(error.message, true));
  } });
  const mark = make("button", { textContent: "Compare", ariaLabel: `Compare: ${words}`, ariaPressed: String(compared.has(job.id)), disabled: job.state !== "done", onclick: () => {
    if (!compared.delete(job.id)) compared.set(job.id, job);
    if (compared.size > 2) compared.delete(compared.keys().next().value);
    document.querySelectorAll("#cards [data-id]").forEach((e) => { e.ariaPressed = String(compared.has(e.dataset.id)); });
    compare();
  } });
  mark.dataset.id = job.id;
  const day = job.id.replace(/(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d).*/, "$1-$2-$3 $4:$5");
  return make("li", {}, picture, make("p", { textContent: words }), make("span", { className: "hint", textContent: `${job.request.generation.method}, ${job.request.generation.model}, seed ${job.request.generation.sampling.seed}; ${day}` }), make("div", { className: "bar" }, open, mark));
}

function compare() {
  const root = $("compared");
  if (compared.size < 2) return root.replaceChildren();
  const shown = [...compared.values()].flatMap((job, i) => versions({ ...job, files: job.files.slice(0, 1) }, `${"AB"[i]}: `));
  const tools = make("div", { className: "bar" });
  root.replaceChildren(make("div", { className: "versions" }, ...shown), tools);
  tools.append(...controlsOf(root));
}

function turn(to) {
  for (const name of ["studio", "gallery"]) {
    $(name).hidden = name !== to;
    $(`to-${name}`).ariaPressed = String(name === to);
  }
  if (to === "gallery") gallery().catch((error) => say(error.message, true));
}

// ---- what the buttons do

// the prompt with each word's role, and in words those that are in no box
function accounted(accounts) {
  const parts = accounts.flatMap(({ prompt, words }) => {
    let end = 0;
    const spans = words.flatMap((word) => {
      const before = prompt.slice(end, word.start);
      end = word.end;
      return [before, make("span", { textContent: prompt.slice(word.start, word.end), title: word.role, className: word.role.replace(" ", "-") })];
    });
    return [make("span", {}, ...spans, prompt.slice(end))];
  });
  const lost = accounts.flatMap(({ words }) => words.filter((word) => word.role === "not understood").map((word) => word.word));
  if (lost.length) parts.push(make("span", { className: "hint" }, `Not understood, so in no box: ${[...new Set(lost)].join(", ")}`));
  $("account").hidden = !accounts.length;
  $("account").replaceChildren(...parts);
}

async function planned() {
  const words = { prompt: $("prompt").value, planner: $("planner").value, kind: $("kind").value };
  if (words.kind === "video") words.seconds = scene().seconds || 2;
  if (words.planner === "paste") {
    if (!$("reply").value.trim()) throw new Error("give the words on the left to a language model and paste its reply");
    words.reply = $("reply").value;
  }
  const { story, warnings, accounts } = await ask("plan", words);
  accounted(accounts);
  const scenes = scenesOf(story);
  stop();
  change(() => {
    if (scenes.length > 1) { state.story = scenes; state.at = 0; } else state.story[state.at] = scenes[0];
    state.key = state.track = 0;
  });
  const usual = state.story.length > 1 ? ["lvd", "ditctrl+lvd"] : ["ditctrl+lvd", "lvd"];
  if (method() === usual[0]) { choose(usual[1]); await fields(); }
  say(warnings.length ? warnings.join("; ") : scene().reasoning ? `Planned: ${scene().reasoning}` : "Planned.");
}

async function words() {
  $("pasting").hidden = $("planner").value !== "paste";
  if (!$("pasting").hidden && $("prompt").value) $("words").value = (await ask("chat", { prompt: $("prompt").value, kind: $("kind").value })).text;
}

async function imported(event) {
  const file = event.target.files[0];
  event.target.value = "";
  if (!file) return;
  if (file.size > options.limits.body) throw new Error(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; at most ${options.limits.body / 1e6} here. Your scene is kept.`);
  let data;
  try { data = JSON.parse(await file.text()); } catch { throw new Error(`${file.name} is not JSON; want a scene or a story. Your scene is kept.`); }
  const { story } = await ask("check", { scene: data });
  change(() => { state.story = scenesOf(story); state.at = 0; });
  $("prompt").value = scene().prompt;
  say(`Read ${file.name}.`);
}

function exported() {
  const file = state.story.length > 1 ? telling() : { version: 1, ...scene() };
  const url = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1) + "\n"], { type: "application/json" }));
  make("a", { href: url, download: state.story.length > 1 ? "story.json" : "scene.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function insertKey() {
  change(() => {
    const n = keys(), k = state.key, next = Math.min(k + 1, n - 1);
    const between = boxesAt(scene(), n > 1 ? (k + (next - k) / 2) / (n - 1) : 0);
    scene().tracks.forEach((t, i) => t.boxes.splice(k + 1, 0, between[i] && between[i].map(round)));
    state.key += 1;
  });
}

const pressed = {
  undo: () => travel(state.past, state.future), redo: () => travel(state.future, state.past), import: () => $("file").click(), export: exported,
  add: () => add(), play, "key-add": insertKey, "key-remove": () => change(() => scene().tracks.forEach((t) => t.boxes.splice(state.key, 1))),
  cancel: trying(async () => { $("cancel").disabled = true; await ask("cancel", { id: localStorage.getItem(JOB) }); }),
  more: trying(() => gallery($("cards").children.length)), "to-studio": () => turn("studio"), "to-gallery": () => turn("gallery"),
};

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, textarea, select") || $("studio").hidden) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") (event.shiftKey ? pressed.redo : pressed.undo)();
  else if (event.key === "[" || event.key === "]") go(clamp(state.key + (event.key === "]" ? 1 : -1), 0, keys() - 1));
  else if (event.key === " " && !event.target.matches("button, summary, a")) play();
  else return;
  event.preventDefault();
});

async function begin() {
  options = await ask("options");
  const list = (id, values, title = {}) => $(id).replaceChildren(...values.map((v) => make("option", { value: v, textContent: v || "nothing more", title: title[v] ?? "" })));
  list("model", Object.keys(options.models), options.models);
  list("method", Object.keys(options.methods), options.methods);
  list("second", ["", ...Object.keys(options.methods).filter((m) => m !== "none")]);
  list("planner", options.planners);
  $("nouns").replaceChildren(...options.words.map((value) => make("option", { value })));
  $("method").value = "lvd";
  $("steps").placeholder = options.size.steps;
  $("frames").placeholder = options.size.frames;
  $("size").placeholder = `${options.size.width}x${options.size.height}`;
  try { state.story = scenesOf({ scenes: JSON.parse(localStorage.getItem(STORE)) ?? [] }); } catch { state.story = []; }
  if (!state.story.length) state.story = scenesOf((await ask("plan", { prompt: $("prompt").value })).story);
  $("prompt").value = scene().prompt;
  for (const [id, work] of Object.entries(pressed)) $(id).onclick = work;
  for (const id of ["background", "negative"]) $(id).onchange = (e) => change(() => { scene()[id] = e.target.value; });
  $("seconds").onchange = (e) => change(() => { scene().seconds = clamp(Number(e.target.value) || 0, 0, 60); });
  $("planning").onsubmit = trying(planned);
  $("rendering").onsubmit = trying(render);
  $("file").onchange = trying(imported);
  $("latest").onloadedmetadata = $("latest-shown").onchange = toggle;
  $("search").oninput = trying(() => gallery());
  for (const id of ["planner", "kind"]) $(id).onchange = trying(words);
  $("prompt").onchange = trying(async (e) => { if (e.target.value.trim()) change(() => { scene().prompt = e.target.value.trim(); }); await words(); });
  for (const id of ["model", "method", "stack"]) $(id).onchange = trying(fields);
  draw();
  await fields();
  if (localStorage.getItem(JOB)) await watch(localStorage.getItem(JOB));
}

begin().catch((error) => say(error.message, true));
