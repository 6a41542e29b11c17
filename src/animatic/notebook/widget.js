// The boxes of a scene at one key frame: drag a box to move it, its lower right corner to resize it.
// The arrow keys move the box that was clicked last.
const COLOURS = ["#e6194b", "#4363d8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000"];
const SIDE = 384; // pixels of the stage
const CORNER = 14; // pixels from the lower right corner that resize
const LEAST = 0.02; // the smallest side of a box, in fractions of the frame
const STEP = 0.02; // of an arrow key
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

const within = (value, low, high) => Math.min(Math.max(value, low), high);

function moved([x0, y0, x1, y1], dx, dy) {
  const x = within(dx, -x0, 1 - x1);
  const y = within(dy, -y0, 1 - y1);
  // Sums may exceed 1 by their last digit.
  return [x0 + x, y0 + y, Math.min(x1 + x, 1), Math.min(y1 + y, 1)];
}

function resized([x0, y0, x1, y1], dx, dy) {
  return [x0, y0, within(x1 + dx, Math.min(x0 + LEAST, 1), 1), within(y1 + dy, Math.min(y0 + LEAST, 1), 1)];
}

function render({ model, el }) {
  const stage = document.createElement("canvas");
  const slider = document.createElement("input");
  el.classList.add("animatic");
  stage.width = stage.height = SIDE;
  stage.tabIndex = 0;
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", "boxes of the scene; drag them, or move the last clicked by the arrow keys");
  slider.type = "range";
  slider.min = slider.value = "0";
  slider.setAttribute("aria-label", "key frame");
  el.append(stage, slider);

  const scene = () => JSON.parse(model.get("text"));
  const key = () => Number(slider.value);
  let chosen = 0;
  let drag = null;

  function draw() {
    const context = stage.getContext("2d");
    const { tracks } = scene();
    slider.max = String(Math.max(0, (tracks[0]?.boxes.length ?? 1) - 1));
    context.clearRect(0, 0, SIDE, SIDE);
    context.font = "14px sans-serif";
    tracks.forEach((track, i) => {
      const box = track.boxes[key()];
      if (!box) return;
      const [x, y] = [box[0] * SIDE, box[1] * SIDE];
      context.strokeStyle = context.fillStyle = COLOURS[i % COLOURS.length];
      context.lineWidth = i === chosen ? 3 : 2;
      context.strokeRect(x, y, (box[2] - box[0]) * SIDE, (box[3] - box[1]) * SIDE);
      context.fillText(track.phrase, x + 4, y + 16);
    });
  }

  function change(track, box) {
    const changed = scene();
    changed.tracks[track].boxes[key()] = box;
    model.set("text", JSON.stringify(changed));
    draw();
  }

  function place(event) {
    const page = stage.getBoundingClientRect();
    return [(event.clientX - page.left) / page.width, (event.clientY - page.top) / page.height];
  }

  stage.addEventListener("pointerdown", (event) => {
    const [x, y] = place(event);
    const { tracks } = scene();
    // The last track stands in front.
    for (let i = tracks.length - 1; i >= 0; i--) {
      const box = tracks[i].boxes[key()];
      if (!box || x < box[0] || x > box[2] || y < box[1] || y > box[3]) continue;
      const atCorner = (box[2] - x) * SIDE < CORNER && (box[3] - y) * SIDE < CORNER;
      drag = { track: i, box, x, y, how: atCorner ? resized : moved };
      chosen = i;
      stage.setPointerCapture(event.pointerId);
      break;
    }
    draw();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = place(event);
    change(drag.track, drag.how(drag.box, x - drag.x, y - drag.y));
  });
  function release() {
    // Python hears of a drag once, at its end.
    if (drag) model.save_changes();
    drag = null;
  }
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("keydown", (event) => {
    const box = scene().tracks[chosen]?.boxes[key()];
    if (!(event.key in ARROWS) || !box) return;
    event.preventDefault();
    change(chosen, moved(box, ...ARROWS[event.key]));
    model.save_changes();
  });
  slider.addEventListener("input", draw);
  model.on("change:text", draw);
  draw();
  return () => model.off("change:text", draw);
}

export default { render };
