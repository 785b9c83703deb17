// State of the page. The functions in `listeners` are called, in their order, when it changes.

export const state = {
  classifier: null, // As the server returned it; null while there is none.
  cards: [], // In the order of the page.
};

export const listeners = {
  classifier: [], // Called with the new version of the classifier and the version before.
  reset: [], // Called with the number of empty classes to start with.
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
