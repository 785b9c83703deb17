// Cards: one for each class, with its images and a pad to draw more.

import { editClassifier, uploadImages } from "./changes.js";
import { $, makeButton, makeElement } from "./dom.js";
import { Camera, Pad, acceptImages, chooseFiles, isImage } from "./inputs.js";
import { reportErrors, showError } from "./messages.js";
import { classColor, makeThumbnail } from "./pictures.js";
import { state } from "./state.js";

class Card {
  constructor(name) {
    this.className = null; // Name of the class on the server; null until it has an image there.
    this.images = []; // Images on the server.
    this.waiting = []; // Files that are not on the server yet.
    this.camera = null;
    this.element = $("#card").content.firstElementChild.cloneNode(true);
    this.label = $(".label", this.element);
    this.label.value = name;
    this.pad = new Pad($(".stage", this.element), {
      hint: "Draw here, or drop images",
      onEnter: () => this.addDrawing(),
    });
    this.addButton = makeButton("Add", () => this.addDrawing(), "Add the drawing to this class (Enter)");
    this.addButton.classList.add("primary");
    this.clearButton = makeButton("Clear", () => this.pad.clear());
    this.cameraButton = makeButton("Camera", () => reportErrors(() => this.toggleCamera()));
    const filesButton = makeButton("Files…", async () => this.addFiles(await chooseFiles()));
    $(".tools", this.element).append(this.addButton, this.clearButton, filesButton, this.cameraButton);
    acceptImages(this.element, (files) => this.addFiles(files.map(({ file }) => file)));
    this.label.addEventListener("change", () => reportErrors(() => this.rename()));
    this.label.addEventListener("keydown", (event) => event.key === "Enter" && this.label.blur());
    $(".remove", this.element).addEventListener("click", () => reportErrors(() => this.remove()));
    $("#cards").append(this.element);
    state.cards.push(this);
    this.render();
  }

  get name() {
    return this.className ?? this.label.value.trim();
  }

  /** True for a class that the user has not changed since it was added. */
  get isUntouched() {
    const isEmpty = this.className === null && !this.waiting.length && this.pad.isEmpty;
    return isEmpty && /^class \d+$/.test(this.name);
  }

  render() {
    $(".dot", this.element).style.background = classColor(this.name);
    const count = this.images.length + this.waiting.length;
    $(".count", this.element).textContent = count === 1 ? "1 image" : `${count} images`;
    this.element.setAttribute("aria-label", `Class ${this.name}`);
    $(".images", this.element).replaceChildren(
      ...this.images.map((image, i) => {
        const alt = `image ${i + 1} of ${this.name}`;
        const drop = () => editClassifier({ drop: image.place });
        const button = makeButton("✕", drop, "Remove this image");
        button.setAttribute("aria-label", `Remove ${alt}`);
        const box = makeElement("span", {}, makeThumbnail(image, alt), button);
        box.setAttribute("role", "listitem");
        return box;
      }),
      ...this.waiting.map(() =>
        makeElement("span", { className: "waiting", title: "Waits until two classes have an image" }),
      ),
    );
  }

  async addDrawing() {
    if (this.camera) {
      const frame = await this.camera.toFile();
      if (frame) this.addFiles([frame]);
      return;
    }
    if (this.pad.isEmpty) {
      showError(new Error(`Draw something for '${this.name}' first, then add it.`));
      return;
    }
    const file = await this.pad.toFile();
    this.pad.clear();
    this.addFiles([file]);
  }

  async toggleCamera() {
    if (this.camera) {
      this.camera.stop();
      this.camera = null;
    } else {
      this.camera = await Camera.start($(".stage", this.element));
    }
    this.cameraButton.textContent = this.camera ? "Stop" : "Camera";
    this.addButton.textContent = this.camera ? "Take" : "Add";
    this.clearButton.hidden = Boolean(this.camera);
  }

  addFiles(files) {
    const images = files.filter(isImage);
    const others = files.filter((file) => !isImage(file)).map((file) => file.name);
    if (others.length) {
      const more = others.length > 5 ? ` and ${others.length - 5} more` : "";
      showError(new Error(`Left out because they are not images: ${others.slice(0, 5).join(", ")}${more}.`));
    }
    if (!images.length) return;
    this.waiting.push(...images);
    this.render();
    uploadImages();
  }

  async rename() {
    const name = this.label.value.trim();
    const old = this.className;
    if (!name || state.cards.some((card) => card !== this && card.name === name)) {
      this.label.value = this.name;
      throw new Error(name ? `There is already a class '${name}'.` : "A class needs a name.");
    }
    if (old === null) {
      this.render();
      uploadImages();
    } else if (name !== old) {
      this.className = name;
      await editClassifier({ rename: old, to: name }, () => {
        this.className = old;
        this.label.value = old;
      });
    }
  }

  async remove() {
    if (this.camera) await this.toggleCamera();
    if (this.className !== null) {
      await editClassifier({ remove: this.className });
      return;
    }
    this.discard();
    state.cards.forEach((card) => card.render());
  }

  /** Take the card off the page. */
  discard() {
    state.cards.splice(state.cards.indexOf(this), 1);
    this.element.remove();
  }
}

/** Show the classes of a classifier. Cards of classes that are not on the server yet stay. */
export function updateCards({ class_details: classes }) {
  const cardNamed = (name) => state.cards.find((card) => card.name === name);
  const withoutCard = classes.filter(({ name }) => !cardNamed(name));
  for (const card of [...state.cards]) {
    if (card.className === null || classes.some(({ name }) => name === card.className)) continue;
    // Another page has renamed the class if its images are now in a new class, else removed it.
    const keys = new Set(card.images.map((image) => image.key));
    const renamed = withoutCard.find(({ images }) => images.some((image) => keys.has(image.key)));
    if (renamed) card.className = renamed.name;
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
  state.cards.forEach((card) => card.render());
}

export function resetCards(nClasses) {
  for (const card of state.cards) card.camera?.stop();
  state.cards = [];
  $("#cards").replaceChildren();
  for (let i = 0; i < nClasses; i++) new Card(unusedName());
}

function unusedName() {
  for (let i = 1; ; i++)
    if (!state.cards.some((card) => card.name === `class ${i}`)) return `class ${i}`;
}

/** Add images to the classes that their folders name. */
function addFolders(files) {
  const groups = new Map();
  for (const { file, folder } of files) {
    const name = folder ?? "dropped";
    groups.set(name, [...(groups.get(name) ?? []), file]);
  }
  for (const card of state.cards.filter((card) => card.isUntouched)) card.discard();
  for (const [name, group] of groups)
    (state.cards.find((card) => card.name === name) ?? new Card(name)).addFiles(group);
}

$("#add-class").addEventListener("click", () => {
  const card = new Card(unusedName());
  card.element.scrollIntoView({ block: "nearest" });
  card.label.focus();
  card.label.select();
});
$("#add-folder").addEventListener("click", () => $("#folder").click());
$("#folder").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  addFolders(
    files.map((file) => ({ file, folder: file.webkitRelativePath.split("/").at(-2) ?? null })),
  );
});
acceptImages(document.body, addFolders);
