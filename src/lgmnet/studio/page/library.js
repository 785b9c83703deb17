// Dialogs to open stored classifiers and files, and to export the classifier.

import * as api from "./api.js";
import { enqueue } from "./changes.js";
import { $, makeButton, makeElement } from "./dom.js";
import { capture, remember } from "./history.js";
import { reportErrors, showError } from "./messages.js";
import { openClassifier, reset, state } from "./state.js";

const MAX_CLASSES_SHOWN = 6;
const TOPIC = "library";

let nextPage = null;

export const updateLibrary = () => ($("#use").disabled = false);
export const resetLibrary = () => ($("#use").disabled = true);

async function listPage(after = null) {
  const page = await api.list(after);
  nextPage = page.next;
  $("#saved-more").hidden = !nextPage;
  if (!after) $("#saved").replaceChildren();
  if (!after && !page.items.length && !page.damaged.length)
    $("#saved").textContent = "There are no classifiers yet.";
  $("#saved").append(...page.items.map(makeItem), ...page.damaged.map(makeDamagedItem));
}

function makeItem({ id, name, classes, model, changed }) {
  const names = Object.keys(classes);
  const nMore = names.length - MAX_CLASSES_SHOWN;
  const more = nMore > 0 ? ` and ${nMore} more` : "";
  const time = new Date(1000 * changed).toLocaleString();
  const textContent = `${names.slice(0, MAX_CLASSES_SHOWN).join(", ")}${more} · ${model} · ${time}`;
  const open = makeButton(name || "untitled", () =>
    enqueue(async () => {
      const before = capture();
      openClassifier(await api.get(id));
      remember(before);
      $("#open-dialog").close();
    }, TOPIC),
  );
  open.append(makeElement("small", { textContent }));
  return addDelete(makeElement("li", {}, open), id, name);
}

function makeDamagedItem(id) {
  const textContent = `A damaged classifier: ${id}`;
  return addDelete(makeElement("li", {}, makeElement("span", { textContent })), id, id);
}

function addDelete(item, id, name) {
  const remove = makeButton("Delete", () =>
    enqueue(async () => {
      const before = capture();
      await api.remove(id);
      if (state.classifier?.id === id) reset();
      remember(before, { deleted: id });
      showDeleted(item, id, name);
    }, TOPIC),
  );
  item.append(remove);
  return item;
}

/** Show in place of a deleted classifier that it can be restored. */
function showDeleted(item, id, name) {
  const undo = makeButton("Undo", () =>
    enqueue(async () => {
      const restored = await api.restore(id);
      item.replaceWith(makeItem(restored));
    }, TOPIC),
  );
  item.replaceChildren(makeElement("span", { textContent: `Deleted '${name || "untitled"}'.` }), undo);
  undo.focus();
}

$("#open").addEventListener("click", () =>
  reportErrors(async () => {
    // Shown at once: a dialog that waits for the server would appear over what is done meanwhile.
    $("#saved").textContent = "Loading…";
    $("#open-dialog").showModal();
    try {
      await listPage();
    } catch (error) {
      $("#open-dialog").close();
      throw error;
    }
  }, TOPIC),
);
$("#saved-more").addEventListener("click", () =>
  reportErrors(() => listPage(nextPage), TOPIC),
);
$("#open-file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  $("#open-dialog").close();
  if (!file) return;
  enqueue(async () => {
    const before = capture();
    const classifier = await api.openFile(file);
    openClassifier(classifier);
    remember(before, { created: classifier.id });
  }, TOPIC);
});

export function download(blob, name) {
  const link = makeElement("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

$("#use").addEventListener("click", () => $("#use-dialog").showModal());
for (const format of ["safetensors", "onnx"]) {
  const button = $(`#get-${format}`);
  button.addEventListener("click", () =>
    reportErrors(async () => {
      const { id, name } = state.classifier;
      const text = button.textContent;
      button.disabled = true;
      button.textContent = "Exporting…";
      try {
        download(await api.exportFile(id, format), `${name || "classifier"}.${format}`);
      } finally {
        button.disabled = false;
        button.textContent = text;
      }
    }),
  );
}
const copyButton = $("#copy-snippet");
const copyText = copyButton.textContent;
copyButton.addEventListener("click", () =>
  reportErrors(async () => {
    const { lines } = await api.snippet(state.classifier.id, $("#language").value);
    const box = $("#snippet");
    box.hidden = false;
    box.value = lines;
    box.select();
    try {
      await navigator.clipboard.writeText(lines);
      copyButton.textContent = "Copied";
      setTimeout(() => (copyButton.textContent = copyText), 2000);
    } catch {
      showError(new Error("The browser does not let the page copy. The code is selected in the box."));
    }
  }),
);
for (const button of document.querySelectorAll("[data-close]"))
  button.addEventListener("click", () => button.closest("dialog").close());
