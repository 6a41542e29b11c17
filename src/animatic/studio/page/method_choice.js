// The method that is chosen: one of the list, or several that were typed with plus signs.

import { options } from "./client.js";
import { $ } from "./dom.js";

export const chosenMethod = () => $("stack").value.trim() || $("method").value;

export function chooseMethod(name) {
  const isListed = name in options.methods;
  $("stack").value = isListed ? "" : name;
  if (isListed) $("method").value = name;
}
