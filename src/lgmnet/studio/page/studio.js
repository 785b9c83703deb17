// Entry point of the page: connects its parts, and opens the classifier that the address names.

import { resetAbout, updateAbout } from "./about.js";
import * as api from "./api.js";
import { resetCards, showDrafts, updateCards } from "./board.js";
import { enqueue } from "./changes.js";
import { $ } from "./dom.js";
import { capture, remember, updateHistory } from "./history.js";
import { resetLibrary, updateLibrary } from "./library.js";
import { clearErrors, reportErrors, showError, showStatus } from "./messages.js";
import { loadModels, resetSettings, updateSettings } from "./settings.js";
import { listeners, openClassifier, reset, state } from "./state.js";
import { clearTrial, updateTrial } from "./trial.js";
import "./views.js";

// The cards come first: they decide the color of each class.
listeners.classifier.push(
  updateCards, updateSettings, updateLibrary, updateStatus, updateAbout, updateTrial, updateHistory,
);
listeners.reset.push(
  resetCards, resetSettings, resetLibrary, resetStatus, resetAbout, clearTrial, () => updateHistory(),
);
listeners.drafts.push(showDrafts);

function updateStatus(classifier) {
  const { id, class_details: classes, model, kind, model_reason: reason, milliseconds } = classifier;
  history.replaceState(null, "", `#${id}`);
  $("#welcome").hidden = true;
  for (const message of classifier.unreadable) {
    const card = state.cards.find(({ name }) => message.startsWith(`Left out of '${name}':`));
    showError(new Error(message), card ?? "upload");
  }
  const nImages = classes.reduce((sum, { shot }) => sum + shot, 0);
  const chosen = reason ? `, chosen because the images are ${kind}` : "";
  const time = milliseconds ? ` Ready after ${milliseconds.toFixed(0)} ms.` : "";
  showStatus(`${classes.length} classes, ${nImages} images, model '${model}'${chosen}.${time}`);
}

function resetStatus() {
  history.replaceState(null, "", location.pathname);
  $("#welcome").hidden = false;
  clearErrors();
  showStatus("");
}

$("#new").addEventListener("click", () =>
  enqueue(async () => {
    const before = capture();
    reset();
    remember(before);
  }),
);
$("#example").addEventListener("click", () =>
  enqueue(async () => {
    const before = capture();
    showStatus("Fitting the example…");
    const classifier = await api.fitDigits();
    openClassifier(classifier);
    remember(before, { created: classifier.id });
  }),
);

const startId = location.hash.slice(1);
reset();
reportErrors(async () => {
  await loadModels();
  if (/^[0-9a-f]{32}$/.test(startId)) openClassifier(await api.get(startId));
});
