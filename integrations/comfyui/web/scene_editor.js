// The editor on the node "Edit scene": boxes of one key frame, dragged and resized; the scene is the node's text.
import { app } from "../../scripts/app.js";

const COLOURS = ["#e6194b", "#4363d8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000"];
const SIDE = 256; // pixels of the stage
const CORNER = 12; // pixels around the lower right corner that resize
const LEAST = 0.02; // the smallest side of a box, in fractions of the frame

export function parsed(text) {
  try {
    const scene = JSON.parse(text);
    return Array.isArray(scene?.tracks) ? scene : null;
  } catch {
    return null; // half-typed text is no scene yet
  }
}

export function moved(box, dx, dy) {
  const [x0, y0, x1, y1] = box;
  const x = Math.min(Math.max(dx, -x0), 1 - x1);
  const y = Math.min(Math.max(dy, -y0), 1 - y1);
  return [x0 + x, y0 + y, x1 + x, y1 + y];
}

export function resized(box, dx, dy) {
  const [x0, y0, x1, y1] = box;
  const right = Math.min(Math.max(x1 + dx, x0 + LEAST), 1);
  const bottom = Math.min(Math.max(y1 + dy, y0 + LEAST), 1);
  return [x0, y0, right, bottom];
}

export function hit(scene, key, x, y) {
  // The last track stands in front.
  for (let i = scene.tracks.length - 1; i >= 0; i--) {
    const box = scene.tracks[i].boxes[key];
    if (!box || x < box[0] || x > box[2] || y < box[1] || y > box[3]) continue;
    const corner = (box[2] - x) * SIDE < CORNER && (box[3] - y) * SIDE < CORNER;
    return { track: i, corner };
  }
  return null;
}

function editor(node) {
  const text = node.widgets.find((widget) => widget.name === "json");
  const root = document.createElement("div");
  const stage = document.createElement("canvas");
  const slider = document.createElement("input");
  stage.width = stage.height = SIDE;
  stage.style.cssText = "width:100%;background:#eee;touch-action:none";
  slider.type = "range";
  slider.min = slider.value = "0";
  slider.style.width = "100%";
  slider.setAttribute("aria-label", "key frame");
  root.append(stage, slider);

  let planned = ""; // what the last run gave; shown until something is edited
  const scene = () => parsed(text.value || planned);

  function draw() {
    const context = stage.getContext("2d");
    context.clearRect(0, 0, SIDE, SIDE);
    const shown = scene();
    if (!shown) return;
    slider.max = String(Math.max(0, (shown.tracks[0]?.boxes.length ?? 1) - 1));
    shown.tracks.forEach((track, i) => {
      const box = track.boxes[Number(slider.value)];
      if (!box) return;
      const [x, y] = [box[0] * SIDE, box[1] * SIDE];
      context.strokeStyle = context.fillStyle = COLOURS[i % COLOURS.length];
      context.lineWidth = 2;
      context.strokeRect(x, y, (box[2] - box[0]) * SIDE, (box[3] - box[1]) * SIDE);
      context.font = "12px sans-serif";
      context.fillText(track.phrase, x + 3, y + 13);
    });
  }

  let drag = null;
  const place = (event) => {
    const page = stage.getBoundingClientRect();
    return [(event.clientX - page.left) / page.width, (event.clientY - page.top) / page.height];
  };
  stage.addEventListener("pointerdown", (event) => {
    const shown = scene();
    const [x, y] = place(event);
    const found = shown && hit(shown, Number(slider.value), x, y);
    if (!found) return;
    drag = { ...found, x, y, shown, box: shown.tracks[found.track].boxes[Number(slider.value)] };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = place(event);
    const change = drag.corner ? resized : moved;
    drag.shown.tracks[drag.track].boxes[Number(slider.value)] = change(drag.box, x - drag.x, y - drag.y);
    text.value = JSON.stringify(drag.shown, null, 1);
    draw();
  });
  const release = () => (drag = null);
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  slider.addEventListener("input", draw);

  node.addDOMWidget("stage", "animatic_stage", root, { serialize: false, getMinHeight: () => SIDE + 40 });
  return {
    draw,
    show(result) {
      planned = result;
      draw();
    },
  };
}

app.registerExtension({
  name: "animatic.scene_editor",
  async beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== "AnimaticEditScene") return;

    const created = nodeType.prototype.onNodeCreated;
    nodeType.prototype.onNodeCreated = function (...given) {
      const result = created?.apply(this, given);
      this.animatic = editor(this);
      return result;
    };

    // A saved graph brings the text after the node is made.
    const configured = nodeType.prototype.onConfigure;
    nodeType.prototype.onConfigure = function (...given) {
      const result = configured?.apply(this, given);
      this.animatic?.draw();
      return result;
    };

    const executed = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      executed?.apply(this, arguments);
      if (output?.scene) this.animatic?.show(output.scene[0]);
    };
  },
});
