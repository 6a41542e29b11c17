// The time of the scene that is shown, on a key frame or between two, and changes of the scene there.

import { options } from "./client.js";
import { notifyError } from "./dom.js";
import { keyAt, keyTimes, withKey } from "./key_times.js";
import { t } from "./language.js";
import { change, currentScene, draw, keyCount, state } from "./state.js";

/** The time 0..1 that the stage shows: that of the selected key frame, unless one between key frames was chosen. */
export const shownTime = () => state.time ?? keyTimes(currentScene())[state.key];

/** Show the scene at a time; a key frame near to it is selected. */
export function selectTime(time) {
  const key = keyAt(currentScene(), time);
  state.time = key < 0 ? time : null;
  if (key >= 0) state.key = key;
  draw();
}

const replaceScene = (next) => { state.story[state.scene] = next; };

/** Whether the server takes a scene of so many key frames; if not, that is said. */
function hasRoom(scene) {
  const { keys } = options.limits;
  if (keyCount(scene) <= keys) return true;
  notifyError(new Error(t("that takes {count} key frames; at most {most} here", { count: keyCount(scene), most: keys })));
  return false;
}

/** Put another form of the scene, with other key frames, in its place; `key` is selected then. */
export function changeKeys(next, key = state.key) {
  if (next === currentScene() || !hasRoom(next)) {
    draw();
    return;
  }
  change(() => {
    replaceScene(next);
    state.key = key;
    state.time = null;
  });
}

/** Add a key frame at a time, where there is none; it is selected. */
export function insertKeyAt(time) {
  const next = withKey(currentScene(), time);
  changeKeys(next, keyAt(next, time));
}

/** Change the box of track `i` at the shown time, where a key frame is made if there is none; null hides it. */
export function changeBox(i, box) {
  const time = shownTime();
  const next = withKey(currentScene(), time);
  if (!hasRoom(next)) {
    draw();
    return;
  }
  change(() => {
    replaceScene(next);
    state.key = keyAt(next, time);
    state.time = null;
    next.tracks[i].boxes[state.key] = box;
  });
}

export const changeTrack = (i, changes) => change(() => Object.assign(currentScene().tracks[i], changes));
