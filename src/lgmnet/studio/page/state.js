// State of the page. The functions in `listeners` are called, in their order, when it changes.

export const state = {
  classifier: null, // As the server returned it; null while there is none.
  cards: [], // In the order of the page.
};

export const listeners = {
  classifier: [], // Called with the new version of the classifier and the version before.
  reset: [], // Called with the number of empty classes to start with.
  drafts: [], // Called with the classes that are not on the server yet, to show them again.
};

export function setClassifier(classifier) {
  const previous = state.classifier;
  state.classifier = classifier;
  for (const listener of listeners.classifier) listener(classifier, previous);
}

/** Start again with empty classes; the server keeps the classifier. */
export function reset(nClasses = 2) {
  state.classifier = null;
  for (const listener of listeners.reset) listener(nClasses);
}

/** Show another classifier. */
export function openClassifier(classifier) {
  reset(0);
  setClassifier(classifier);
}

/** Return the classes that are not on the server yet: their names and images. */
export const getDrafts = () =>
  state.cards
    .filter((card) => card.className === null)
    .map(({ name, waiting }) => ({ name, waiting: [...waiting] }));

export function setDrafts(drafts) {
  for (const listener of listeners.drafts) listener(drafts);
}

/** Find an image of the classifier by its key; its place changes with every version. */
export function findImage(key) {
  for (const { name, images } of state.classifier?.class_details ?? [])
    for (const image of images) if (image.key === key) return { ...image, className: name };
  throw new Error("This image is no longer in the classifier.");
}
