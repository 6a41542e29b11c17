// Recording a path: while the pointer is held on the stage the selected object follows it, in the time of the scene.

import { place } from "./boxes.js";
import { options } from "./client.js";
import { $, notify, notifyError } from "./dom.js";
import { MIDDLE, clamp, moved } from "./geometry.js";
import { boxesAt } from "./key_times.js";
import { t } from "./language.js";
import { recorded } from "./paths.js";
import { showAt, stop } from "./player.js";
import { changeKeys, shownTime } from "./scene_edits.js";
import { currentScene, draw, state } from "./state.js";
import { followPointer, stagePoint, takeOverStage } from "./stage_pointer.js";

const SHORTEST = 0.5; // seconds
const REST = 150; // milliseconds without a move

export function bindRecording() {
  $("record").onclick = () => arm($("record").ariaPressed !== "true");
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && $("record").ariaPressed === "true") arm(false); });
}

function arm(isArmed) {
  const track = currentScene().tracks[state.track];
  if (isArmed && (!track || track.locked)) {
    notifyError(new Error(track ? t("{phrase} is locked", { phrase: track.phrase }) : t("add an object first")));
    return;
  }
  $("record").ariaPressed = String(isArmed);
  $("stage").classList.toggle("armed", isArmed);
  takeOverStage(isArmed ? record : null);
  if (isArmed) {
    const values = { phrase: track.phrase, seconds: Math.max(SHORTEST, currentScene().seconds) };
    notify(t("Press on the stage and move: {phrase} follows until you let go, or {seconds} s are over.", values));
  }
}

/** Record from the shown time until the pointer is let go or the scene is over; what comes after stays at the last place. */
function record(event) {
  stop();
  const scene = currentScene(), i = state.track;
  const length = Math.max(SHORTEST, scene.seconds) * 1000;
  const begin = shownTime() > 0.98 ? 0 : shownTime();
  const began = performance.now();
  const size = boxesAt(scene, begin)[i] ?? MIDDLE;
  const timeNow = () => clamp(begin + (performance.now() - began) / length);
  const boxUnder = ([x, y]) => moved(size, x - (size[0] + size[2]) / 2, y - (size[1] + size[3]) / 2);
  let box = boxUnder(stagePoint(event)), frame = 0;
  const samples = [[begin, box]];

  // a straight line between two places of the pointer; where it rested, it rests until just before it goes on
  const sample = (next) => {
    const time = timeNow(), [last] = samples[samples.length - 1];
    if (time - last > REST / length) samples.push([time - REST / length / 2, box]);
    box = next;
    if (time > samples[samples.length - 1][0]) samples.push([time, box]);
  };
  const tick = () => {
    const time = timeNow();
    showAt(time);
    const element = $("stage").children[i];
    element.hidden = false;
    place(element, box);
    if (time < 1) frame = requestAnimationFrame(tick);
    else finish();
  };
  const finish = () => {
    if (!frame) return;
    cancelAnimationFrame(frame);
    frame = 0;
    sample(box);
    arm(false);
    if (samples.length > 1) changeKeys(recorded(scene, i, samples, options.limits.keys));
    else draw();
  };
  frame = requestAnimationFrame(tick);
  followPointer(event, (point) => sample(boxUnder(point)), finish);
}
