// The language of the page. English is the source: it stands in the page and in the modules, strings.json translates it.

export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", zh: "中文" };
const STORE = "animatic.language"; // of localStorage
const ATTRIBUTES = ["placeholder", "title", "aria-label", "alt"];

const LETTER = /\p{L}/u; // a text without one is the same in every language

let strings = {}; // English: {language: translation}
let language = "en";
const views = [];
const sources = []; // the page's own texts: {source, write}

/** An English text in the page's language; {name} in it stands for `values.name`. One without translation stays. */
export function t(text, values = {}) {
  const translated = strings[text]?.[language] ?? text;
  return translated.replace(/\{(\w+)\}/g, (braces, name) => values[name] ?? braces);
}

/** Have `view()` called whenever the language has changed; what is drawn from the state is drawn again anyway. */
export const addLanguageView = (view) => views.push(view);

/** Read the translations, and show the page in the language chosen before, else in the first the browser has. */
export async function beginLanguage() {
  const answer = await fetch("/strings.json");
  strings = await answer.json();
  collectSources(document.body);

  const preferred = navigator.languages.map((name) => name.split("-")[0]);
  const known = [localStorage.getItem(STORE), ...preferred, "en"].filter((name) => name in LANGUAGES);
  const select = document.getElementById("language");
  for (const [value, name] of Object.entries(LANGUAGES)) select.append(new Option(name, value));
  select.value = known[0];
  select.onchange = () => {
    localStorage.setItem(STORE, select.value);
    speak(select.value);
  };
  speak(known[0]);
}

function speak(name) {
  language = name;
  document.documentElement.lang = name;
  document.getElementById("english-only").hidden = name === "en";
  for (const { source, write } of sources) write(t(source));
  for (const view of views) view();
}

/** Remember the texts and attributes of elements as they stand in the page, but of those with translate="no". */
function collectSources(element) {
  if (!element.translate) return;
  for (const name of ATTRIBUTES) {
    const source = element.getAttribute(name);
    if (source) sources.push({ source, write: (text) => element.setAttribute(name, text) });
  }
  for (const child of element.childNodes) {
    if (child.nodeType === Node.ELEMENT_NODE) collectSources(child);
    if (child.nodeType !== Node.TEXT_NODE || !LETTER.test(child.data)) continue;
    const [, before, source, after] = child.data.match(/^(\s*)(.*?)(\s*)$/s);
    sources.push({ source, write: (text) => { child.data = before + text + after; } });
  }
}
