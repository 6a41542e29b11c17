// The method that is chosen: one of the list, or several that were typed with plus signs.

import { options } from "./client.js";
import { $ } from "./dom.js";

/** A model's method for one clip, or for several scenes in a row, where nobody chose one. */
export const usualMethod = (isStory, model = $("model").value) => options.usual[model]?.[isStory ? "story" : "method"];

export const chosenMethod = () => $("stack").value.trim() || $("method").value;

export function chooseMethod(name) {
  const isListed = name in options.methods;
  $("stack").value = isListed ? "" : name;
  if (isListed) $("method").value = name;
}
