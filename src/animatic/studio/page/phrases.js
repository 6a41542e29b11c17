// Names of objects within a prompt: found, exchanged, given a colour. No page in here.

const WORD = /[\p{L}\p{N}'-]/u;

/** Where whole words stand in a text, in any case: [start, end], or null. */
export function findWords(text, words) {
  const low = text.toLowerCase(), wanted = words.toLowerCase();
  for (let start = low.indexOf(wanted); wanted && start >= 0; start = low.indexOf(wanted, start + 1)) {
    const end = start + wanted.length;
    const isWhole = !WORD.test(text[start - 1] ?? " ") && !WORD.test(text[end] ?? " ");
    if (isWhole) return [start, end];
  }
  return null;
}

/** A text with one phrase in place of another, and "a" or "an" before it as it sounds; the same text where it is not. */
export function exchanged(text, before, after) {
  const found = findWords(text, before);
  if (!found) return text;
  const head = text.slice(0, found[0]).replace(/\b(a)n?(\s+)$/i, (_, letter, space) => letter + (/^[aeiou]/i.test(after) ? "n" : "") + space);
  return head + after + text.slice(found[1]);
}

/** The first word of a phrase where it is a colour, and the rest: ["red", "ball"]; ["", "ball"] without one. */
export function colourOf(phrase, colours) {
  const [first, ...rest] = phrase.split(" ");
  return rest.length && colours.includes(first.toLowerCase()) ? [first.toLowerCase(), rest.join(" ")] : ["", phrase];
}

/** A phrase in another colour, "" for none. */
export function coloured(phrase, colour, colours) {
  const [, name] = colourOf(phrase, colours);
  return colour ? `${colour} ${name}` : name;
}
