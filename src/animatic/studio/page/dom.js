// Elements of the page and the line of messages. No text becomes markup: the page's policy forbids it.

import { t } from "./language.js";

/** The element with an id. */
export const $ = (id) => document.getElementById(id);

/** A new element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A new SVG element with attributes. */
export function makeSvg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A select's choices. */
export function fillSelect(id, values, { label = (value) => value, title = () => "" } = {}) {
  $(id).replaceChildren(...values.map((value) => make("option", { value, textContent: label(value), title: title(value) })));
}

/** Show one message. An error and a message with an action ({label, run}) stay; the others go after five seconds. */
export function notify(text, { bad = false, action = null } = {}) {
  const box = make("div", { className: bad ? "message bad" : "message" }, make("span", { textContent: text }));
  if (action) {
    const run = () => { action.run(); box.remove(); };
    box.append(make("button", { textContent: action.label, onclick: run }));
  }
  box.append(make("button", { textContent: t("Close"), onclick: () => box.remove() }));
  $("messages").replaceChildren(box);
  if (!bad && !action) setTimeout(() => box.remove(), 5000);
}

export const notifyError = (error) => notify(error.message, { bad: true });

/** An event handler that shows the errors of `work`. */
export const reporting = (work) => async (event) => {
  event?.preventDefault?.();
  try {
    await work(event);
  } catch (error) {
    notifyError(error);
  }
};
