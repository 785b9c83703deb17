// Name of the classifier, model and theme.

import * as api from "./api.js";
import { editClassifier } from "./changes.js";
import { $, makeElement } from "./dom.js";
import { showStatus } from "./messages.js";
import { state } from "./state.js";

const THEME_KEY = "lgmnet-theme";

export function updateSettings(classifier, previous) {
  $("#model").value = classifier.model;
  $("#save").disabled = false;
  const isOther = previous?.id !== classifier.id;
  if (isOther || document.activeElement !== $("#name")) $("#name").value = classifier.name;
}

export function resetSettings() {
  $("#model").value = "auto";
  $("#save").disabled = true;
  $("#name").value = "untitled";
}

export async function loadModels() {
  for (const { name, kind, available, missing_extra: missing } of await api.models())
    $("#model").append(
      makeElement("option", {
        value: name,
        textContent: `${name} (${kind})${available ? "" : ": not installed"}`,
        disabled: !available,
        title: missing ?? "",
      }),
    );
}

async function save() {
  const name = $("#name").value.trim() || "untitled";
  if (name !== state.classifier.name) await editClassifier({ name });
  if (state.classifier?.name === name) showStatus(`Saved as '${name}'. Find it again with Open…`);
}

$("#save").addEventListener("click", save);
$("#name").addEventListener("change", () => state.classifier && save());

// Switch the model of the classifier; without one, the choice is for the first images.
$("#model").addEventListener("change", () => {
  if (!state.classifier) return;
  const revert = () => ($("#model").value = state.classifier?.model ?? "auto");
  editClassifier({ model: $("#model").value }, revert, "model");
});

const root = document.documentElement;
const savedTheme = localStorage.getItem(THEME_KEY);
if (savedTheme) root.dataset.theme = savedTheme;
$("#theme").addEventListener("click", () => {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const current = root.dataset.theme ?? (isDark ? "dark" : "light");
  root.dataset.theme = current === "dark" ? "light" : "dark";
  localStorage.setItem(THEME_KEY, root.dataset.theme);
});
