// Changes to the classifier, made one after the other: each builds on the version before.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { reportErrors, showStatus } from "./messages.js";
import { reset, setClassifier, state } from "./state.js";

const MAX_BATCH_BYTES = 30e6;
export const MAX_BATCH_IMAGES = 100;

let queue = Promise.resolve();
let nQueued = 0;

/** Run an action when all earlier ones are done. */
export function enqueue(action) {
  const count = (change) => {
    nQueued += change;
    $("#board").setAttribute("aria-busy", String(nQueued > 0));
  };
  count(1);
  queue = queue.then(() => reportErrors(action)).finally(() => count(-1));
  return queue;
}

/** Change the classifier, and call `undo` if the server refuses. */
export function editClassifier(fields, undo = () => {}) {
  return enqueue(async () => {
    try {
      setClassifier(await api.edit(state.classifier.id, state.classifier.etag, fields));
    } catch (error) {
      undo();
      await reloadAfter(error);
      throw error;
    }
  });
}

/** Load the current version after somebody else has changed or removed the classifier. */
async function reloadAfter(error) {
  if (error.status === 412) setClassifier(await api.get(state.classifier.id));
  if (error.status === 404) reset();
}

/** Send the images that wait, in batches, as soon as two classes have an image. */
export function uploadImages() {
  return enqueue(async () => {
    for (;;) {
      const cards = state.cards.filter((card) => card.waiting.length && card.name);
      if (!cards.length) return;
      if (!state.classifier && cards.length < 2) {
        showStatus("Add an image to one more class to fit the classifier.");
        return;
      }
      const { images, counts } = nextBatch(cards);
      const removeSent = () => {
        for (const [card, count] of counts) card.waiting.splice(0, count);
      };
      try {
        const classifier = state.classifier
          ? await api.edit(state.classifier.id, state.classifier.etag, { images })
          : await api.fit({
              images,
              name: $("#name").value.trim() || "untitled",
              model: $("#model").value,
            });
        removeSent();
        setClassifier(classifier);
      } catch (error) {
        await reloadAfter(error);
        if (error.status === 412) continue;
        if (error.status) removeSent(); // Images that the server refuses are not sent again.
        state.cards.forEach((card) => card.render());
        throw error;
      }
    }
  });
}

/** Take one image of each card at a time, so that even the first batch has two classes. */
function nextBatch(cards) {
  const images = [];
  const counts = new Map(); // Images taken from each card.
  let bytes = 0;
  for (let round = 0; ; round++) {
    const nBefore = images.length;
    for (const card of cards) {
      const file = card.waiting[round];
      if (!file || images.length >= MAX_BATCH_IMAGES) continue;
      if (images.length > 1 && bytes + file.size > MAX_BATCH_BYTES) continue;
      images.push({ file, label: card.name });
      counts.set(card, round + 1);
      bytes += file.size;
    }
    if (images.length === nBefore) return { images, counts };
  }
}
