// Changes to the classifier, made one after the other: each builds on the version before.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { capture, forgetHistory, remember } from "./history.js";
import { reportErrors, showStatus } from "./messages.js";
import { reset, setClassifier, state } from "./state.js";

const MAX_BATCH_BYTES = 30e6;
export const MAX_BATCH_IMAGES = 100;
const TOO_LARGE = 413;

let queue = Promise.resolve();
let nQueued = 0;

/** Run an action when all earlier ones are done. */
export function enqueue(action, topic = "edit") {
  const count = (change) => {
    nQueued += change;
    $("#board").setAttribute("aria-busy", String(nQueued > 0));
  };
  count(1);
  queue = queue.then(() => reportErrors(action, topic)).finally(() => count(-1));
  return queue;
}

/**
 * Change the classifier, and call `revert` if the server refuses. The fields may be a function,
 * which is called when all earlier changes are made.
 */
export function editClassifier(fields, revert = () => {}, topic = "edit") {
  const before = capture();
  return enqueue(async () => {
    try {
      const { id, etag } = state.classifier;
      const edited = await api.edit(id, etag, typeof fields === "function" ? fields() : fields);
      setClassifier(edited);
      remember({ ...before, id }, { versions: 1 });
    } catch (error) {
      revert();
      await reloadAfter(error);
      throw error;
    }
  }, topic);
}

/** Load the current version after somebody else has changed or removed the classifier. */
export async function reloadAfter(error) {
  if (![404, 412].includes(error.status) || !state.classifier) return;
  forgetHistory();
  if (error.status === 412) setClassifier(await api.get(state.classifier.id));
  else reset();
}

/** Send the images that wait, in batches, as soon as two classes have an image. */
export function uploadImages(before = capture()) {
  return enqueue(async () => {
    let maxImages = MAX_BATCH_IMAGES;
    let versions = 0;
    let created = null;
    try {
      for (;;) {
        const cards = state.cards.filter((card) => card.waiting.length && card.name);
        if (!cards.length) return;
        if (!state.classifier && cards.length < 2) {
          showStatus("Add an image of one more class, and the classifier is ready.");
          return;
        }
        const { images, counts } = nextBatch(cards, maxImages);
        const removeSent = () => {
          for (const [card, count] of counts) card.waiting.splice(0, count);
        };
        try {
          const isNew = !state.classifier;
          const classifier = isNew
            ? await api.fit({
                images,
                name: $("#name").value.trim() || "untitled",
                model: $("#model").value,
              })
            : await api.edit(state.classifier.id, state.classifier.etag, { images });
          if (isNew) created = classifier.id;
          else versions++;
          removeSent();
          setClassifier(classifier);
        } catch (error) {
          await reloadAfter(error);
          if (error.status === 412) continue;
          if (error.status === TOO_LARGE && images.length > 2) {
            maxImages = Math.ceil(images.length / 2);
            continue;
          }
          if (error.status) removeSent(); // Images that the server refuses are not sent again.
          state.cards.forEach((card) => card.render());
          throw nameClasses(error, [...counts.keys()]);
        }
      }
    } finally {
      // If another call has sent the images, that one remembers the change.
      const isMine = versions || created || !state.classifier;
      if (isMine) remember(before, { versions: created ? 0 : versions, created });
    }
  }, "upload");
}

/** Say in an error which classes did not get their images, unless it says so itself. */
function nameClasses(error, cards) {
  if (!error.status) return error;
  if (cards.length === 1) [error.topic] = cards;
  if (error.message.startsWith("Left out of")) return error;
  const names = cards.map((card) => `'${card.name}'`).join(", ");
  error.message = `The images for ${names} were not added: ${error.message}`;
  return error;
}

/** Take one image of each card at a time, so that even the first batch has two classes. */
function nextBatch(cards, maxImages) {
  const images = [];
  const counts = new Map(); // Images taken from each card.
  let bytes = 0;
  for (let round = 0; ; round++) {
    const nBefore = images.length;
    for (const card of cards) {
      const file = card.waiting[round];
      if (!file || (counts.get(card) ?? 0) < round || images.length >= maxImages) continue;
      if (images.length > 1 && bytes + file.size > MAX_BATCH_BYTES) continue;
      images.push({ file, label: card.name });
      counts.set(card, round + 1);
      bytes += file.size;
    }
    if (images.length === nBefore) return { images, counts };
  }
}
