// Cards: one for each class, with its images and the tools to add more.

import { editClassifier, uploadImages } from "./changes.js";
import { Camera, makeRecordButton } from "./camera.js";
import { $, makeButton, makeElement } from "./dom.js";
import { acceptImages, chooseFiles, sortFiles } from "./files.js";
import { capture, remember } from "./history.js";
import { dropImage, makeTile } from "./images.js";
import { clearErrors, reportErrors, showError } from "./messages.js";
import { Pad } from "./pad.js";
import { classColor } from "./pictures.js";
import { state } from "./state.js";

const MAX_TILES = { full: 12, row: 4, head: 0 }; // By the size of the cards.

export class Card {
  /** Make a card and add it to the page. */
  constructor(name) {
    this.className = null; // Name of the class on the server; null until it has an image there.
    this.images = []; // Images on the server.
    this.waiting = []; // Files that are not on the server yet.
    this.camera = null;
    this.pad = null;
    this.size = "full";
    this.isOpen = false; // True if all images are shown, however many.
    this.rendered = "";
    this.element = $("#card").content.firstElementChild.cloneNode(true);
    this.stage = $(".stage", this.element);
    this.label = $(".label", this.element);
    this.label.value = name;
    acceptImages(this.element, (files) => this.addFiles(files.map(({ file }) => file)), () =>
      dropImage(this),
    );
    this.label.addEventListener("input", () => this.fitLabel());
    this.label.addEventListener("change", () => reportErrors(() => this.rename(), this));
    this.label.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.label.blur();
    });
    $(".remove", this.element).addEventListener("click", () => this.remove());
    $(".expand", this.element).addEventListener("click", () => this.toggle());
    this.showTools();
    $("#cards").append(this.element);
    state.cards.push(this);
    this.render();
  }

  get name() {
    return this.className ?? this.label.value.trim();
  }

  /** True for a class that the user has not changed since it was added. */
  get isUntouched() {
    const isEmpty = this.className === null && !this.waiting.length && (this.pad?.isEmpty ?? true);
    return isEmpty && /^class \d+$/.test(this.name);
  }

  toggle(isOpen = !this.isOpen) {
    this.isOpen = isOpen;
    this.render();
  }

  /** Show the name in full: the element around it holds the same text, and so has its height. */
  fitLabel() {
    this.label.parentElement.dataset.text = this.label.value;
  }

  render() {
    const items = [...this.images, ...this.waiting];
    const max = this.isOpen ? Infinity : MAX_TILES[this.size];
    const visible = items.length > max ? items.slice(0, Math.max(0, max - 1)) : items;
    this.fitLabel();
    $(".dot", this.element).style.background = classColor(this.name);
    const unit = makeElement("span", { textContent: items.length === 1 ? " image" : " images" });
    $(".count", this.element).replaceChildren(String(items.length), unit);
    this.element.setAttribute("aria-label", `Class ${this.name}`);
    this.element.classList.toggle("open", this.isOpen);
    this.element.classList.toggle("empty", !items.length);
    const expand = $(".expand", this.element);
    expand.hidden = this.size === "full" && items.length <= MAX_TILES.full;
    expand.textContent = this.isOpen ? "▴" : "▾";
    expand.setAttribute("aria-expanded", String(this.isOpen));
    const keys = items.map((item) => item.key ?? `${item.name} ${item.size} ${item.lastModified}`);
    const drawn = JSON.stringify([this.name, this.size, visible.length, keys]);
    if (drawn === this.rendered) return;
    this.rendered = drawn;
    this.renderImages(items, visible);
  }

  renderImages(items, visible) {
    const list = $(".images", this.element);
    const focused = [...list.children].findIndex((tile) => tile.contains(document.activeElement));
    const tiles = visible.map((item, i) => makeTile(this, item, i + 1));
    if (visible.length < items.length && this.size !== "head") {
      const nMore = items.length - visible.length;
      const more = makeButton(`+${nMore}`, () => this.toggle(true), `Show ${nMore} more images`);
      const tile = makeElement("span", { className: "tile rest" }, more);
      tile.setAttribute("role", "listitem");
      tiles.push(tile);
    }
    list.dataset.columns = this.size === "row" && !this.isOpen ? 4 : countColumns(tiles.length);
    list.replaceChildren(...tiles);
    list.hidden = !tiles.length; // A list without items is no list.
    const next = list.children[Math.min(focused, list.children.length - 1)];
    if (focused >= 0) ($("button", next ?? this.element) ?? this.element).focus();
  }

  /** Show the tools: those of the pad or the camera, if one is open. */
  showTools() {
    const tools = $(".tools", this.element);
    this.stage.hidden = !this.camera && !this.isDrawing;
    if (this.camera) {
      const record = makeRecordButton(this.camera, (files) => this.addFiles(files));
      const stop = makeButton("Stop", () => this.toggleCamera());
      tools.replaceChildren(record, stop);
    } else if (this.isDrawing) {
      const add = makeButton("Add", () => this.addDrawing(), "Add the drawing to this class (Enter)");
      add.classList.add("primary");
      const clear = makeButton("Clear", () => this.pad.clear());
      tools.replaceChildren(add, clear, makeButton("Done", () => this.toggleDrawing()));
    } else {
      tools.replaceChildren(
        makeButton("Files…", async () => this.addFiles(await chooseFiles())),
        makeButton("Camera", () => this.toggleCamera()),
        makeButton("Draw", () => this.toggleDrawing()),
      );
    }
  }

  toggleDrawing() {
    this.isDrawing = !this.isDrawing;
    if (this.isDrawing && !this.pad)
      this.pad = new Pad(this.stage, {
        hint: "Draw here",
        onStroke: () => clearErrors(this),
        onEnter: () => this.addDrawing(),
      });
    this.showTools();
    if (this.isDrawing) this.pad.canvas.focus();
    else $(".tools button:last-child", this.element).focus();
  }

  async addDrawing() {
    await reportErrors(async () => {
      if (this.pad.isEmpty)
        throw new Error(`Draw something for '${this.name}' first, then add it.`);
      const file = await this.pad.toFile();
      this.pad.clear();
      this.addFiles([file]);
    }, this);
  }

  async toggleCamera() {
    await reportErrors(async () => {
      if (this.camera) {
        this.camera.stop();
        this.camera = null;
      } else this.camera = await Camera.start(this.stage);
    }, this);
    this.showTools();
  }

  /** Add files to the class, and send them as soon as there are two classes. */
  addFiles(files) {
    if (!files.length) return;
    const before = capture();
    this.takeFiles(files);
    uploadImages(before);
  }

  /** Show files in the class, without sending them yet. */
  takeFiles(files) {
    clearErrors(this);
    const { images, problems } = sortFiles(files);
    for (const problem of problems)
      showError(new Error(`Left out of '${this.name}': ${problem}`), this);
    this.waiting.push(...images);
    this.render();
  }

  async rename() {
    const name = this.label.value.replace(/\s+/g, " ").trim();
    const old = this.className;
    if (!name || state.cards.some((card) => card !== this && card.name === name)) {
      this.label.value = this.name;
      this.fitLabel();
      throw new Error(name ? `There is already a class '${name}'.` : "A class needs a name.");
    }
    this.label.value = name;
    this.render();
    if (old === null) uploadImages();
    else if (name !== old) {
      this.className = name;
      const revert = () => {
        this.className = old;
        this.label.value = old;
      };
      await editClassifier({ rename: old, to: name }, revert, this);
    }
  }

  async remove() {
    if (this.camera) await this.toggleCamera();
    if (this.className !== null) {
      await editClassifier({ remove: this.className }, undefined, this);
      return;
    }
    const before = capture();
    this.discard();
    state.cards.forEach((card) => card.render());
    remember(before);
  }

  /** Take the card off the page. */
  discard() {
    this.camera?.stop();
    clearErrors(this);
    state.cards.splice(state.cards.indexOf(this), 1);
    this.element.remove();
  }
}

/** Return the number of columns that lets images fill a card. */
function countColumns(nImages) {
  if (nImages <= 3) return Math.max(1, nImages);
  if (nImages === 4) return 2;
  return nImages <= 9 ? 3 : 4;
}
