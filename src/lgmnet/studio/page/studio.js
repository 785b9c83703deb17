// Entry point of the page: connects its parts, and opens the classifier that the address names.

import { resetAbout, updateAbout } from "./about.js";
import * as api from "./api.js";
import { resetCards, updateCards } from "./cards.js";
import { enqueue } from "./changes.js";
import { $ } from "./dom.js";
import { resetLibrary, updateLibrary } from "./library.js";
import { reportErrors, showError, showStatus } from "./messages.js";
import { loadModels, resetSettings, updateSettings } from "./settings.js";
import { listeners, openClassifier, reset } from "./state.js";
import { clearTrial, updateTrial } from "./trial.js";

// The cards come first: they decide the color of each class.
listeners.classifier.push(
  updateCards, updateSettings, updateLibrary, updateStatus, updateAbout, updateTrial,
);
listeners.reset.push(resetCards, resetSettings, resetLibrary, resetStatus, resetAbout, clearTrial);

function updateStatus(classifier) {
  const { id, class_details: classes, model, model_reason: reason, milliseconds } = classifier;
  history.replaceState(null, "", `#${id}`);
  $("#welcome").hidden = true;
  for (const message of classifier.unreadable) showError(new Error(`Left out: ${message}`));
  const nImages = classes.reduce((sum, { shot }) => sum + shot, 0);
  const time = milliseconds ? `, fitted in ${milliseconds.toFixed(0)} ms` : "";
  showStatus(
    `${classes.length} classes, ${nImages} images, model ${model}${time}${reason ? ` (${reason})` : ""}`,
  );
}

function resetStatus() {
  history.replaceState(null, "", location.pathname);
  $("#welcome").hidden = false;
  showStatus("");
}

$("#new").addEventListener("click", () => enqueue(async () => reset()));
$("#example").addEventListener("click", () =>
  enqueue(async () => {
    showStatus("Fitting the example…");
    openClassifier(await api.fitDigits());
  }),
);

const startId = location.hash.slice(1);
reset();
reportErrors(async () => {
  await loadModels();
  if (/^[0-9a-f]{32}$/.test(startId)) openClassifier(await api.get(startId));
});
