// Colors of classes, and small pictures of images on the server and of files.

import * as api from "./api.js";
import { makeElement } from "./dom.js";
import { findImage, state } from "./state.js";

const SIDE = 224; // Pixels of the picture of a file.
const MARGIN = "400px"; // Distance from the screen at which pictures begin to load.

const serverUrls = new Map(); // Promises of URLs, by the key of the image.
const fileUrls = new WeakMap(); // Promises of URLs, by file.
const loaders = new WeakMap(); // Function that gives the URL of each picture that is not loaded.
let reading = Promise.resolve(); // Files are read one after the other: photos need much memory.

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) load(target);
  },
  { rootMargin: MARGIN },
);

/** Color of a class; the golden angle between hues keeps neighbours apart. */
export function classColor(name) {
  const index = Math.max(0, state.cards.findIndex((card) => card.name === name));
  return `hsl(${(index * 137.5 + 225) % 360} 62% 52%)`;
}

/** Make the picture of an image on the server, or of a file; it is loaded when it is visible. */
export function makePicture(image, alt) {
  const element = makeElement("img", { alt, draggable: false });
  loaders.set(element, image instanceof Blob ? () => fileUrl(image) : () => serverUrl(image.key));
  observer.observe(element);
  return element;
}

async function load(element) {
  observer.unobserve(element);
  const url = await loaders.get(element)();
  if (url) element.src = url;
  else element.replaceWith(makeMissing(element.alt));
}

/** Make what is shown in place of a picture that does not exist. */
function makeMissing(alt) {
  const title = "There is no picture of this image";
  const element = makeElement("span", { className: "missing", title, textContent: "no picture" });
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", `${alt} (no picture)`);
  return element;
}

function remember(urls, key, promise) {
  if (!urls.has(key))
    urls.set(
      key,
      promise().then(URL.createObjectURL, () => {
        urls.delete(key);
        return "";
      }),
    );
  return urls.get(key);
}

// The place of an image may have changed since its picture was made.
const serverUrl = (key) =>
  remember(serverUrls, key, async () => api.thumbnail(state.classifier.id, findImage(key).place));

function fileUrl(file) {
  return remember(fileUrls, file, () => {
    const result = reading.then(() => shrink(file));
    reading = result.catch(() => {});
    return result;
  });
}

/** Reduce an image file to its middle square; fails if the browser cannot read it. */
async function shrink(file) {
  const image = await createImageBitmap(file);
  const side = Math.min(image.width, image.height);
  const size = Math.min(side, SIDE);
  const canvas = makeElement("canvas", { width: size, height: size });
  const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
  canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, size, size);
  image.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
