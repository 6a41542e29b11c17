// Time on the stage: the boxes played as an animatic, and the last video under them.

import { showBoxes } from "./boxes.js";
import { $ } from "./dom.js";
import { clamp, storyFraction } from "./geometry.js";
import { t } from "./language.js";
import { shownTime } from "./scene_edits.js";
import { addView, currentScene, draw, state } from "./state.js";

const PAUSE = 400; // milliseconds at the end of each round
const SHORTEST = 0.5; // seconds of a round
let playing = 0; // the animation frame that comes next

/** Show the frame of the video at a time 0..1 of this scene. */
export function seek(time) {
  const video = $("latest");
  if (video.hidden || !video.duration) return;
  // the last moment of a video has no frame
  const seconds = storyFraction(state.story, state.scene, time) * video.duration;
  video.currentTime = Math.min(seconds, video.duration - 0.01);
}

const timeViews = [];

/** Have `view(time)` called for each time that is played. */
export const addTimeView = (view) => timeViews.push(view);

/** Show the boxes, and the video under them, at a time 0..1; they cannot be edited meanwhile. */
export function showAt(time) {
  showBoxes($("stage"), currentScene(), time);
  seek(time);
  for (const view of timeViews) view(time);
}

/** Put a video under the stage. */
export function showUnderStage(source) {
  $("latest").src = source;
  $("under").hidden = false;
  showOrHide();
}

function showOrHide() {
  $("latest").hidden = !$("latest-shown").checked || !$("latest").src;
  seek(shownTime());
}

/** Play this scene's boxes over and over; where they play already, stop. */
export function play() {
  if (playing) {
    stop();
    return;
  }
  const began = performance.now();
  const length = Math.max(SHORTEST, currentScene().seconds) * 1000;

  const tick = (now) => {
    const time = clamp(((now - began) % (length + PAUSE)) / length);
    showAt(time);
    playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
  drawButton();
}

export function stop() {
  if (!playing) return;
  cancelAnimationFrame(playing);
  playing = 0;
  draw();
}

function drawButton() {
  $("play").ariaPressed = String(Boolean(playing));
  $("play").textContent = playing ? t("Stop") : t("Play");
}

export function bindPlayer() {
  addView(drawButton);
  $("play").onclick = play;
  $("latest").onloadedmetadata = showOrHide;
  $("latest-shown").onchange = showOrHide;
}
