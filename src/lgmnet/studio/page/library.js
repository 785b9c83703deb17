// Dialogs to open stored classifiers and files, and to export the classifier.

import * as api from "./api.js";
import { enqueue } from "./changes.js";
import { $, makeButton, makeElement } from "./dom.js";
import { reportErrors, showError } from "./messages.js";
import { openClassifier, reset, state } from "./state.js";

const MAX_CLASSES_SHOWN = 6;

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
  const more = names.length > MAX_CLASSES_SHOWN ? ", …" : "";
  const time = new Date(1000 * changed).toLocaleString();
  const textContent = `${names.slice(0, MAX_CLASSES_SHOWN).join(", ")}${more} · ${model} · ${time}`;
  const open = makeButton(name || "untitled", () =>
    enqueue(async () => {
      openClassifier(await api.get(id));
      $("#open-dialog").close();
    }),
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
    reportErrors(async () => {
      if (!confirm(`Delete '${name}' permanently?`)) return;
      await api.remove(id);
      item.remove();
      if (state.classifier?.id === id) reset();
    }),
  );
  item.append(remove);
  return item;
}

$("#open").addEventListener("click", () =>
  reportErrors(async () => {
    await listPage();
    $("#open-dialog").showModal();
  }),
);
$("#saved-more").addEventListener("click", () => reportErrors(() => listPage(nextPage)));
$("#open-file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  $("#open-dialog").close();
  if (file) enqueue(async () => openClassifier(await api.openFile(file)));
});

function download(blob, name) {
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
