// The zoom of the stage: by buttons, by Ctrl and the wheel; a larger stage is scrolled.

import { $ } from "./dom.js";
import { clamp } from "./geometry.js";

const LEVELS = [1, 1.5, 2, 3, 4];
let level = 0; // of LEVELS

export function bindZoom() {
  $("zoom-in").onclick = () => zoom(level + 1);
  $("zoom-out").onclick = () => zoom(level - 1);
  $("viewport").addEventListener("wheel", zoomByWheel, { passive: false });
  zoom(0);
}

function zoomByWheel(event) {
  if (!event.ctrlKey) return;
  event.preventDefault(); // the page's own zoom
  zoom(level + (event.deltaY < 0 ? 1 : -1), event);
}

/** Show the stage at a level; the point under the pointer, or else the middle, stays where it is. */
function zoom(to, pointer = null) {
  const viewport = $("viewport"), area = viewport.getBoundingClientRect();
  const before = LEVELS[level];
  level = clamp(to, 0, LEVELS.length - 1);
  const factor = LEVELS[level] / before;
  const x = pointer ? pointer.clientX - area.left : area.width / 2;
  const y = pointer ? pointer.clientY - area.top : area.height / 2;
  const left = (viewport.scrollLeft + x) * factor - x, top = (viewport.scrollTop + y) * factor - y;

  viewport.style.setProperty("--zoom", LEVELS[level]);
  viewport.scrollTo({ left, top, behavior: "instant" });
  $("zoom").textContent = `${LEVELS[level] * 100} %`;
  $("zoom-in").disabled = level === LEVELS.length - 1;
  $("zoom-out").disabled = level === 0;
}
