// The picture that a video begins with.

import { options } from "./client.js";
import { $, make, notify, reporting } from "./dom.js";
import { t } from "./language.js";

const SIDE = 1280; // pixels of a picture that is too large to be sent as it is
const ENCODED = 4 / 3; // letters of base64 for each byte
const OTHER_VALUES = 20_000; // bytes of a request besides its picture

let image = ""; // a data URL; of an opened job the digest, under which the server keeps it

export function bindFirstImage() {
  $("image").onchange = reporting(chooseImage);
  $("image-remove").onclick = () => show("");
}

/** What a render reads of this part of the form. */
export const firstImageRequest = () => (image ? { image } : {});

/** Show what a job was made of. */
export const openFirstImage = ({ image_digest: digest }) => show(digest ?? "");

async function chooseImage(event) {
  const file = event.target.files[0];
  event.target.value = ""; // so that the same file can be chosen again
  if (!file) return;
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new Error(t("{file} is no picture that this browser reads.", { file: file.name }));
  }
  const fits = file.size * ENCODED + OTHER_VALUES <= options.limits.body && Math.max(picture.width, picture.height) <= options.limits.image_side;
  show(fits ? await dataUrl(file) : scaled(picture, file.name));
}

const dataUrl = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});

/** A picture small enough to be sent. Says so. */
function scaled(picture, file) {
  const factor = Math.min(1, SIDE / Math.max(picture.width, picture.height));
  const canvas = make("canvas", { width: Math.round(picture.width * factor), height: Math.round(picture.height * factor) });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  notify(t("{file} is sent as {size} pixels.", { file, size: `${canvas.width}x${canvas.height}` }));
  return canvas.toDataURL("image/jpeg", 0.95);
}

function show(value) {
  image = value;
  const isPicture = value.startsWith("data:");
  $("image-preview").hidden = !isPicture;
  if (isPicture) $("image-preview").src = value;
  $("image-kept").hidden = !value || isPicture;
  $("image-remove").hidden = !value;
}
