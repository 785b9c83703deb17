// Colors of classes, and thumbnails of support images.

import * as api from "./api.js";
import { makeElement } from "./dom.js";
import { state } from "./state.js";

const thumbnailUrls = new Map(); // Promises, by the key of the image.

/** Color of a class; the golden angle between hues keeps neighbours apart. */
export function classColor(name) {
  const index = Math.max(0, state.cards.findIndex((card) => card.name === name));
  return `hsl(${(index * 137.5 + 225) % 360} 62% 52%)`;
}

/** URL of a support image's thumbnail, which is fetched once; empty if there is none. */
function thumbnailUrl({ place, key }) {
  if (!thumbnailUrls.has(key))
    thumbnailUrls.set(
      key,
      api.thumbnail(state.classifier.id, place).then(URL.createObjectURL, () => {
        thumbnailUrls.delete(key);
        return "";
      }),
    );
  return thumbnailUrls.get(key);
}

export function makeThumbnail(image, alt) {
  const element = makeElement("img", { alt });
  thumbnailUrl(image).then((url) => {
    if (url) element.src = url;
  });
  return element;
}
