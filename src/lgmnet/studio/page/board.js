// All cards: shown for a classifier, searched, and filled from folders and zips.

import { Card } from "./cards.js";
import { uploadImages } from "./changes.js";
import { $ } from "./dom.js";
import { acceptImages, chooseFiles, folderFiles } from "./files.js";
import { capture, remember } from "./history.js";
import { reportErrors } from "./messages.js";
import { state } from "./state.js";

const MAX_FULL_CARDS = 12; // With more classes, a card shows one row of its images.
const MAX_ROW_CARDS = 60; // With still more, it shows only its name.

/** Show the classes of a classifier. Cards of classes that are not on the server yet stay. */
export function updateCards({ class_details: classes }) {
  const cardNamed = (name) => state.cards.find((card) => card.name === name);
  const withoutCard = classes.filter(({ name }) => !cardNamed(name));
  for (const card of [...state.cards]) {
    if (card.className === null || classes.some(({ name }) => name === card.className)) continue;
    // Another page has renamed the class if its images are now in a new class, else removed it.
    const keys = new Set(card.images.map((image) => image.key));
    const renamed = withoutCard.find(({ images }) => images.some((image) => keys.has(image.key)));
    if (renamed && !cardNamed(renamed.name)) card.className = renamed.name;
    else card.discard();
  }
  const ordered = classes.map(({ name, images }) => {
    const card = cardNamed(name) ?? new Card(name);
    card.className = name;
    card.images = images;
    if (document.activeElement !== card.label) card.label.value = name;
    return card;
  });
  ordered.push(...state.cards.filter((card) => card.className === null));
  if (ordered.some((card, i) => card !== state.cards[i])) {
    state.cards = ordered;
    $("#cards").append(...ordered.map((card) => card.element));
  }
  arrange();
}

/** Choose the size of the cards by their number, and show those that are searched for. */
function arrange() {
  const n = state.cards.length;
  const size = n <= MAX_FULL_CARDS ? "full" : n <= MAX_ROW_CARDS ? "row" : "head";
  $("#cards").dataset.size = size;
  for (const card of state.cards) {
    card.size = size;
    card.render();
  }
  $("#finder").hidden = size === "full";
  if (size === "full") $("#search").value = "";
  filter();
}

function filter() {
  const text = $("#search").value.trim().toLowerCase();
  let nFound = 0;
  for (const card of state.cards) {
    const isFound = card.name.toLowerCase().includes(text);
    card.element.hidden = !isFound;
    nFound += isFound;
  }
  $("#found").textContent = text ? `${nFound} of ${state.cards.length} classes` : "";
}

export function resetCards(nClasses) {
  for (const card of [...state.cards]) card.discard();
  for (let i = 0; i < nClasses; i++) new Card(unusedName());
  arrange();
}

/** Show the classes that are not on the server as they were (see `getDrafts`). */
export function showDrafts(drafts) {
  const names = new Set(drafts.map(({ name }) => name));
  for (const card of [...state.cards])
    if (card.className === null && !names.has(card.name)) card.discard();
  for (const { name, waiting } of drafts) {
    const card = state.cards.find((card) => card.name === name) ?? new Card(name);
    if (card.className === null) card.waiting = [...waiting];
  }
  arrange();
}

function unusedName() {
  for (let i = 1; ; i++)
    if (!state.cards.some((card) => card.name === `class ${i}`)) return `class ${i}`;
}

/** Add a class with a name to be changed, and return its card. */
export function addClass() {
  const before = capture();
  $("#search").value = "";
  const card = new Card(unusedName());
  arrange();
  card.toggle(true);
  remember(before);
  card.element.scrollIntoView({ block: "nearest" });
  card.label.focus();
  card.label.select();
  return card;
}

/** Add images to the classes that their folders name. */
function addFolders(files) {
  if (!files.length) return;
  const groups = new Map();
  for (const { file, folder } of files) {
    const name = folder ?? "dropped";
    groups.set(name, [...(groups.get(name) ?? []), file]);
  }
  const before = capture();
  for (const card of state.cards.filter((card) => card.isUntouched)) card.discard();
  const names = [...groups.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  for (const name of names)
    (state.cards.find((card) => card.name === name) ?? new Card(name)).takeFiles(groups.get(name));
  arrange();
  uploadImages(before);
}

$("#search").addEventListener("input", filter);
$("#add-class").addEventListener("click", addClass);
$("#add-folder").addEventListener("click", () => $("#folder").click());
$("#folder").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  addFolders(folderFiles(files));
});
$("#add-zip").addEventListener("click", () =>
  reportErrors(async () => addFolders(await chooseFiles(".zip,application/zip", true)), "upload"),
);
acceptImages(document.body, addFolders);
