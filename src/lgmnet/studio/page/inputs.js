// Sources of images: a pad to draw on, files, folders, the clipboard and the camera.

import { makeElement } from "./dom.js";

const PAD_SIDE = 280;
const PEN_WIDTH = 20;
const KEY_STEP = 14; // Pixels that an arrow key moves the pen.
const MAX_FRAME_SIDE = 448;

export const isImage = (file) =>
  file.type.startsWith("image/") || /\.(png|jpe?g|webp|gif|bmp|tiff?|pgm|ppm)$/i.test(file.name);

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
    this.isDrawing = false;
    this.onStroke = onStroke;
    this.onDone = onDone;
    this.onEnter = onEnter;
    this.clear();
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.isDrawing = true;
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
      if (this.pen.isDown) this.moveTo(this.pen.x, this.pen.y, true);
      else this.onDone();
    } else if (event.key === "Enter") {
      this.pen.isDown = false;
      this.onEnter();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else return;
    event.preventDefault();
  }

  clear() {
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

  /** Show an image file in place of a drawing. */
  async show(file) {
    const image = await createImageBitmap(file);
    this.clear();
    const scale = Math.min(PAD_SIDE / image.width, PAD_SIDE / image.height);
    const [width, height] = [image.width * scale, image.height * scale];
    this.context.drawImage(image, (PAD_SIDE - width) / 2, (PAD_SIDE - height) / 2, width, height);
    this.hint.hidden = true;
  }

  async toFile() {
    const blob = await new Promise((resolve) => this.canvas.toBlob(resolve));
    return new File([blob], "drawing.png", { type: "image/png" });
  }
}

/** Live picture of the camera, in place of a pad. */
export class Camera {
  static async start(stage) {
    if (!navigator.mediaDevices?.getUserMedia)
      throw new Error("The browser allows the camera only on localhost or with HTTPS.");
    try {
      const constraints = { video: { facingMode: "environment" } };
      return new Camera(stage, await navigator.mediaDevices.getUserMedia(constraints));
    } catch (error) {
      throw new Error(`The camera cannot be used: ${error.message || error.name}.`);
    }
  }

  constructor(stage, stream) {
    this.stage = stage;
    this.stream = stream;
    this.video = makeElement("video", {
      muted: true,
      autoplay: true,
      playsInline: true,
      srcObject: stream,
    });
    stage.classList.add("live");
    stage.append(this.video);
  }

  /** Return the middle square of the current frame, or null before the first frame. */
  async toFile() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth) return null;
    const side = Math.min(videoWidth, videoHeight);
    const out = Math.min(side, MAX_FRAME_SIDE);
    const canvas = makeElement("canvas", { width: out, height: out });
    const [left, top] = [(videoWidth - side) / 2, (videoHeight - side) / 2];
    canvas.getContext("2d").drawImage(this.video, left, top, side, side, 0, 0, out, out);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    return new File([blob], "camera.jpg", { type: "image/jpeg" });
  }

  stop() {
    for (const track of this.stream.getTracks()) track.stop();
    this.video.remove();
    this.stage.classList.remove("live");
  }
}

/** Return all files of a drop, also those in folders, each with the name of its folder. */
async function filesFromDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, folder: null }));
  const files = [];
  const walk = async (entry, folder) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      files.push({ file, folder });
      return;
    }
    const reader = entry.createReader(); // It gives the entries in several parts.
    for (;;) {
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) return;
      for (const child of part) if (!child.name.startsWith(".")) await walk(child, entry.name);
    }
  };
  for (const entry of entries) await walk(entry, null);
  return files;
}

/** Let the user drop and paste images on an element. */
export function acceptImages(element, onImages) {
  const stop = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  element.addEventListener("dragover", (event) => {
    stop(event);
    element.classList.add("drop-target");
  });
  element.addEventListener("dragleave", () => element.classList.remove("drop-target"));
  element.addEventListener("drop", async (event) => {
    stop(event);
    element.classList.remove("drop-target");
    onImages(await filesFromDrop(event.dataTransfer));
  });
  element.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    stop(event);
    onImages(files.map((file) => ({ file, folder: null })));
  });
}

/** Let the user choose image files. */
export function chooseFiles() {
  return new Promise((resolve) => {
    const input = makeElement("input", { type: "file", multiple: true, accept: "image/*" });
    input.addEventListener("change", () => resolve([...input.files]));
    input.addEventListener("cancel", () => resolve([]));
    input.click();
  });
}
