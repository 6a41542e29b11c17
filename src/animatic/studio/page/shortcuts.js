// The keys of the whole page, and the dialog that lists them; the keys of one element are with that element.

import { $ } from "./dom.js";
import { play } from "./player.js";
import { redo, state, undo } from "./state.js";
import { selectKey } from "./timeline.js";

export function bindShortcuts() {
  $("shortcuts-open").onclick = () => $("shortcuts").showModal();
  document.addEventListener("keydown", (event) => {
    // in a field they are letters, and an open dialog has its own keys
    if (event.target.matches("input, textarea, select") || $("shortcuts").open) return;
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function actionOf(event) {
  if (event.key === "?") return () => $("shortcuts").showModal();
  if ($("studio").hidden) return null;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") return event.shiftKey ? redo : undo;
  if (event.key === "[") return () => selectKey(state.key - 1);
  if (event.key === "]") return () => selectKey(state.key + 1);
  if (event.key === " " && !event.target.matches("button, summary, a")) return play;
  return null;
}
