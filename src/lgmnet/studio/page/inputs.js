// Where images come from: a pad to draw on, files, folders, the clipboard and the camera.

const SIDE = 280;
const PEN = 20;
const STEP = 14;

export const isImage = (file) =>
  file.type.startsWith("image/") || /\.(png|jpe?g|webp|gif|bmp|tiff?|pgm|ppm)$/i.test(file.name);

/** A square to draw on with mouse, finger, pen or keys (arrows move, space lowers or lifts the pen). */
export class Pad {
  constructor(stage, { hint, onStroke = () => {}, onDone = () => {}, onEnter = () => {} }) {
    this.canvas = document.createElement("canvas");
    this.canvas.width = this.canvas.height = SIDE;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute(
      "aria-label",
      `${hint} With keys: arrows move the pen, space lowers and lifts it, Enter is done.`,
    );
    this.note = document.createElement("small");
    this.note.textContent = hint;
    stage.append(this.canvas, this.note);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.pen = { x: SIDE / 2, y: SIDE / 2, down: false };
    this.onStroke = onStroke;
    this.onDone = onDone;
    this.clear();
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.drawing = true;
      this.moveTo(event, false);
      this.moveTo(event, true);
      event.preventDefault();
      this.canvas.focus({ preventScroll: true });
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.drawing) return;
      for (const one of event.getCoalescedEvents?.() ?? [event]) this.moveTo(one, true);
    });
    for (const end of ["pointerup", "pointercancel"])
      this.canvas.addEventListener(end, () => {
        if (!this.drawing) return;
        this.drawing = false;
        this.onDone();
      });
    this.canvas.addEventListener("keydown", (event) => this.key(event, onEnter));
  }

  moveTo(event, inking) {
    const box = this.canvas.getBoundingClientRect();
    const scale = SIDE / box.width;
    this.lineTo((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, inking);
  }

  lineTo(x, y, inking) {
    if (inking) {
      this.context.beginPath();
      this.context.moveTo(this.pen.x, this.pen.y);
      this.context.lineTo(x, y);
      this.context.stroke();
      this.empty = false;
      this.note.hidden = true;
      this.onStroke();
    }
    this.pen.x = x;
    this.pen.y = y;
  }

  key(event, onEnter) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const within = (value) => Math.min(SIDE - PEN, Math.max(PEN, value));
    if (steps[event.key]) {
      const [dx, dy] = steps[event.key];
      this.lineTo(within(this.pen.x + dx * STEP), within(this.pen.y + dy * STEP), this.pen.down);
    } else if (event.key === " ") {
      this.pen.down = !this.pen.down;
      if (this.pen.down) this.lineTo(this.pen.x, this.pen.y, true);
      else this.onDone();
    } else if (event.key === "Enter") {
      this.pen.down = false;
      onEnter();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else return;
    event.preventDefault();
  }

  clear() {
    this.context.fillStyle = "#fff";
    this.context.fillRect(0, 0, SIDE, SIDE);
    Object.assign(this.context, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "#14161f" });
    this.empty = true;
    this.note.hidden = false;
    this.pen.down = false;
  }

  /** Show a picture in place of a drawing. */
  async show(file) {
    const picture = await createImageBitmap(file);
    this.clear();
    const scale = Math.min(SIDE / picture.width, SIDE / picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    this.context.drawImage(picture, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
    this.note.hidden = true;
  }

  file(name = "drawing.png") {
    return new Promise((resolve) =>
      this.canvas.toBlob((blob) => resolve(new File([blob], name, { type: "image/png" }))),
    );
  }
}

/** The camera in place of a pad; gives frames. */
export class Camera {
  static async start(stage) {
    if (!navigator.mediaDevices?.getUserMedia)
      throw new Error("This browser gives no camera to this page; open it on localhost or by https.");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      throw new Error(`The camera cannot be used: ${error.message || error.name}.`);
    }
    return new Camera(stage, stream);
  }

  constructor(stage, stream) {
    this.stream = stream;
    this.video = document.createElement("video");
    this.video.muted = this.video.autoplay = this.video.playsInline = true;
    this.video.srcObject = stream;
    this.stage = stage;
    for (const child of stage.children) child.hidden = true;
    stage.append(this.video);
  }

  async file() {
    const { videoWidth: w, videoHeight: h } = this.video;
    if (!w) return null;
    const side = Math.min(w, h);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.min(side, 448);
    const context = canvas.getContext("2d");
    context.drawImage(this.video, (w - side) / 2, (h - side) / 2, side, side, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    return new File([blob], "camera.jpg", { type: "image/jpeg" });
  }

  stop(noteHidden) {
    for (const track of this.stream.getTracks()) track.stop();
    this.video.remove();
    for (const child of this.stage.children) child.hidden = child.tagName === "SMALL" && noteHidden;
  }
}

/** Images below what was dropped, each with the folder it lies in. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, folder: null }));
  const found = [];
  const walk = async (entry, folder) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ file, folder });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const one of some) if (!one.name.startsWith(".")) await walk(one, entry.name);
    }
  };
  for (const entry of entries) await walk(entry, null);
  return found;
}

/** Let images be dropped and pasted on an element. */
export function takes(element, onImages) {
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    event.stopPropagation();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    element.classList.remove("over");
    onImages(await dropped(event.dataTransfer));
  });
  element.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    onImages(files.map((file) => ({ file, folder: null })));
  });
}

/** Ask for image files. */
export function choose() {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.accept = "image/*";
    input.addEventListener("change", () => resolve([...input.files]));
    input.addEventListener("cancel", () => resolve([]));
    input.click();
  });
}
