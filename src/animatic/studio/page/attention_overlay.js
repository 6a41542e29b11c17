// Attention maps over a playing video: of a word, of all layers and steps or of one of them, more or less opaque.

import { make, notifyError } from "./dom.js";
import { t } from "./language.js";

const VERSION = 1;
const DIM = 166; // of 255: how opaque a map is where it is drawn wholly, so that the video stays visible
const ALL = ""; // the value of a list that stands for the mean over all

/** A switch that lays the maps at an address over the video of a screen; they are loaded when it is first turned on. */
export function attentionOverlay(screen, address) {
  const root = make("div", { className: "overlay" });
  const shown = make("input", { type: "checkbox" });
  let layer = null; // what is drawn and its lists, once loaded
  shown.onchange = async () => {
    try {
      layer ??= addLayer(root, screen, await load(address));
      layer.show(shown.checked);
    } catch (error) {
      shown.checked = false;
      notifyError(error);
    }
  };
  root.append(make("label", { className: "check" }, shown, t("attention over the video")));
  return root;
}

async function load(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(t("the attention maps cannot be read"));
  const recorded = await answer.json();
  if (recorded.version !== VERSION) throw new Error(t("the attention maps cannot be read"));
  return recorded;
}

/** The canvas over a video and the lists of what it shows. */
function addLayer(root, screen, recorded) {
  const video = screen.querySelector("video");
  const canvas = make("canvas", { className: "attention-map" });
  video.after(canvas); // under the boxes
  const list = (values, all) => {
    const first = all ? [make("option", { value: ALL, textContent: all })] : [];
    return make("select", {}, ...first, ...values.map((value) => make("option", { value, textContent: value })));
  };
  const word = list(recorded.words), site = list(recorded.layers, t("all layers")), step = list(recorded.steps, t("all steps"));
  const opacity = make("input", { type: "range", min: 0, max: 100, value: 100 });
  const field = (label, input) => make("label", {}, label, input);
  const lists = make("div", { className: "row" }, field(t("Word"), word), field(t("Layer"), site), field(t("Step"), step), field(t("Opacity"), opacity));
  root.append(lists);

  let map = null, drawn = -1, isShown = false;
  const choose = () => {
    map = decoded(recorded, word.value, site.value, step.value);
    canvas.hidden = !map; // not every layer has every word
    drawn = -1;
    if (map) Object.assign(canvas, { width: map.width, height: map.height });
  };
  for (const select of [word, site, step]) select.onchange = choose;
  opacity.oninput = () => { canvas.style.opacity = opacity.value / 100; };

  const tick = () => {
    if (!isShown || !screen.isConnected) return; // turned off, or taken off the page
    const frame = map ? frameAt(video, recorded.frames, map.frames) : drawn;
    if (frame !== drawn) draw(canvas, map, frame);
    canvas.dataset.frame = drawn = frame;
    requestAnimationFrame(tick);
  };
  choose();
  return {
    show(wanted) {
      lists.hidden = !wanted;
      canvas.hidden = !wanted || !map;
      if (wanted && !isShown) requestAnimationFrame(tick);
      isShown = wanted;
    },
  };
}

/** A map's bytes and size; null where the layer was not recorded at the step, or the size is not that of the bytes. */
function decoded(recorded, word, layer, step) {
  const name = layer === ALL ? null : layer, number = step === ALL ? null : Number(step);
  const found = recorded.maps.find((map) => map.word === word && map.layer === name && map.step === number);
  if (!found) return null;
  const [frames, height, width] = found.shape;
  const bytes = Uint8Array.from(atob(found.data), (letter) => letter.charCodeAt(0));
  return bytes.length && bytes.length === frames * height * width ? { frames, height, width, bytes } : null;
}

/** The map's frame that is nearest to the frame of the video that is shown: they may have fewer. */
function frameAt(video, frames, mapFrames) {
  const place = video.duration ? video.currentTime / video.duration : 0;
  const shown = Math.min(frames - 1, Math.floor(place * frames + 1e-6));
  return Math.round((shown / Math.max(1, frames - 1)) * (mapFrames - 1));
}

/** One frame in the colours of the written maps: dark where there is no attention, red where it is high. */
function draw(canvas, { width, height, bytes }, frame) {
  const context = canvas.getContext("2d", { willReadFrequently: true }); // made of bytes: kept in memory, not on a GPU
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const level = bytes[frame * width * height + i] / 255;
    image.data.set([255 * level, 60 * level ** 2, 20 * level ** 2, DIM], 4 * i);
  }
  context.putImageData(image, 0, 0);
}
