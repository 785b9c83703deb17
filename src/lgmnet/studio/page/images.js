// The images of a class: tiles that can be dragged to another class, and a dialog for one image.
//
// An item is an image of the classifier, or a file that is not on the server yet.

import { editClassifier, uploadImages } from "./changes.js";
import { $, makeButton, makeElement } from "./dom.js";
import { capture } from "./history.js";
import { reportErrors } from "./messages.js";
import { makePicture } from "./pictures.js";
import { findImage, state } from "./state.js";

let dragged = null; // Item that is dragged, with its card.
let shown = null; // Item in the dialog, with its card.

const isFile = (item) => item instanceof Blob;
const fileName = (item) => (isFile(item) ? item.name : item.file);

export function makeTile(card, item, number) {
  const alt = `image ${number} of ${card.name}`;
  const open = makeButton("", () => showImage(card, item, number), fileName(item));
  open.classList.add("picture");
  open.append(makePicture(item, alt));
  open.addEventListener("keydown", (event) => {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    event.preventDefault();
    removeImage(card, item);
  });
  const remove = makeButton("✕", () => removeImage(card, item), "Remove this image");
  remove.className = "drop";
  remove.setAttribute("aria-label", `Remove ${alt}`);
  const tile = makeElement("span", { className: "tile", draggable: true }, open, remove);
  tile.classList.toggle("waiting", isFile(item));
  tile.setAttribute("role", "listitem");
  tile.addEventListener("dragstart", (event) => {
    dragged = { card, item };
    event.dataTransfer.setData("text/plain", fileName(item) || alt);
    event.dataTransfer.effectAllowed = "move";
  });
  tile.addEventListener("dragend", () => (dragged = null));
  return tile;
}

/** Move the image that is dragged to a class; return false if none is. */
export function dropImage(target) {
  if (!dragged) return false;
  const { card, item } = dragged;
  dragged = null;
  if (card !== target) moveImage(card, item, target.name, target);
  return true;
}

export function removeImage(card, item) {
  if (isFile(item)) return takeFile(card, item);
  if (card.images.length === 1) return card.remove(); // A class has at least one image.
  return editClassifier(() => ({ drop: findImage(item.key).place }), undefined, card);
}

/** Move an image to a class of this name, which may be new; `target` is its card, if any. */
function moveImage(card, item, name, target) {
  if (!isFile(item))
    return editClassifier(() => ({ move: findImage(item.key).place, into: name }), undefined, card);
  const before = capture();
  takeFile(card, item);
  target.waiting.push(item);
  target.render();
  return uploadImages(before);
}

/** Take a file, which is not on the server yet, out of its class. */
function takeFile(card, file) {
  const before = capture();
  card.waiting = card.waiting.filter((other) => other !== file);
  card.render();
  return uploadImages(before);
}

function showImage(card, item, number) {
  shown = { card, item };
  $("#image-title").textContent = `Image ${number} of ${card.name}`;
  $("#image-dialog .large").replaceChildren(makePicture(item, `image ${number} of ${card.name}`));
  $("#image-dialog .file").textContent = fileName(item);
  $("#move-to").replaceChildren(
    ...state.cards
      .filter((other) => other !== card && other.name)
      .map(({ name }) => makeElement("option", { value: name, textContent: name })),
  );
  $("#image-dialog form").hidden = !$("#move-to").options.length;
  $("#image-dialog").showModal();
}

function closeWith(action) {
  $("#image-dialog").close();
  reportErrors(() => action(shown.card, shown.item));
}

$("#move").addEventListener("click", () =>
  closeWith((card, item) => {
    const name = $("#move-to").value;
    return moveImage(card, item, name, state.cards.find((other) => other.name === name));
  }),
);
$("#remove-image").addEventListener("click", () => closeWith(removeImage));
