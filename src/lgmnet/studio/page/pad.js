// Square to draw on.

import { makeElement } from "./dom.js";

const PAD_SIDE = 280;
const PEN_WIDTH = 20;
const KEY_STEP = 14; // Pixels that an arrow key moves the pen.
const MAX_UNDO = 30;

/** Square to draw on with mouse, finger, pen or keys. */
export class Pad {
  constructor(stage, { hint, onStroke = () => {}, onDone = () => {}, onEnter = () => {} }) {
    this.canvas = makeElement("canvas", { width: PAD_SIDE, height: PAD_SIDE, tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute(
      "aria-label",
      `${hint}. Keyboard: arrows move the pen, space lowers and lifts it, Enter finishes.`,
    );
    this.hint = makeElement("small", { textContent: hint });
    stage.append(this.canvas, this.hint);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.pen = { x: PAD_SIDE / 2, y: PAD_SIDE / 2, isDown: false };
    this.past = []; // Pictures before each stroke.
    this.isDrawing = false;
    this.onStroke = onStroke;
    this.onDone = onDone;
    this.onEnter = onEnter;
    this.wipe();
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.isDrawing = true;
      this.keep();
      this.moveToPointer(event, false);
      this.moveToPointer(event, true);
      event.preventDefault();
      this.canvas.focus({ preventScroll: true });
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.isDrawing) return;
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.moveToPointer(part, true);
    });
    for (const name of ["pointerup", "pointercancel"])
      this.canvas.addEventListener(name, () => {
        if (!this.isDrawing) return;
        this.isDrawing = false;
        this.onDone();
      });
    this.canvas.addEventListener("keydown", (event) => this.handleKey(event));
  }

  moveToPointer(event, isDown) {
    const box = this.canvas.getBoundingClientRect();
    const scale = PAD_SIDE / box.width;
    this.moveTo((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, isDown);
  }

  moveTo(x, y, isDown) {
    if (isDown) {
      this.context.beginPath();
      this.context.moveTo(this.pen.x, this.pen.y);
      this.context.lineTo(x, y);
      this.context.stroke();
      this.isEmpty = false;
      this.hint.hidden = true;
      this.onStroke();
    }
    this.pen.x = x;
    this.pen.y = y;
  }

  handleKey(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const clamp = (value) => Math.min(PAD_SIDE - PEN_WIDTH, Math.max(PEN_WIDTH, value));
    if (steps[event.key]) {
      const [dx, dy] = steps[event.key];
      const { x, y, isDown } = this.pen;
      this.moveTo(clamp(x + dx * KEY_STEP), clamp(y + dy * KEY_STEP), isDown);
    } else if (event.key === " ") {
      this.pen.isDown = !this.pen.isDown;
      if (this.pen.isDown) this.keep();
      if (this.pen.isDown) this.moveTo(this.pen.x, this.pen.y, true);
      else this.onDone();
    } else if (event.key === "Enter") {
      this.pen.isDown = false;
      this.onEnter();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      if (event.shiftKey || !this.past.length) return; // The page undoes its last change.
      this.undo();
    } else return;
    event.preventDefault();
  }

  /** Keep the picture, so that the stroke that begins can be undone. */
  keep() {
    const pixels = this.context.getImageData(0, 0, PAD_SIDE, PAD_SIDE);
    this.past.push({ pixels, isEmpty: this.isEmpty });
    if (this.past.length > MAX_UNDO) this.past.shift();
  }

  /** Take back the last stroke, or the clearing. */
  undo() {
    const { pixels, isEmpty } = this.past.pop();
    this.context.putImageData(pixels, 0, 0);
    this.isEmpty = isEmpty;
    this.hint.hidden = !isEmpty;
    this.pen.isDown = false;
    this.onDone();
  }

  /** Clear the pad; this can be undone. */
  clear() {
    if (!this.isEmpty) this.keep();
    this.wipe();
  }

  wipe() {
    this.context.fillStyle = "#fff";
    this.context.fillRect(0, 0, PAD_SIDE, PAD_SIDE);
    Object.assign(this.context, {
      lineWidth: PEN_WIDTH,
      lineCap: "round",
      lineJoin: "round",
      strokeStyle: "#14161f",
    });
    this.isEmpty = true;
    this.hint.hidden = false;
    this.pen.isDown = false;
  }

  async toFile() {
    const blob = await new Promise((resolve) => this.canvas.toBlob(resolve));
    return new File([blob], "drawing.png", { type: "image/png" });
  }
}
