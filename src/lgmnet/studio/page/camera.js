// The camera: a live picture, and a button that records images while it is held.

import { makeElement } from "./dom.js";

const MAX_FRAME_SIDE = 448;
const RECORD_INTERVAL = 200; // Milliseconds between two images.
const MAX_RECORDED = 50;

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
    this.video.setAttribute("aria-label", "Live picture of the camera");
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

/** Make a button that takes an image when pressed, and more of them while it is held. */
export function makeRecordButton(camera, onFiles) {
  const label = "Hold to record";
  const button = makeElement("button", { type: "button", textContent: label, className: "record primary" });
  let files = null; // Images of the recording that runs.
  let first = null; // Promise of its first image.
  let timer = 0;

  const take = async () => {
    const recording = files;
    const file = await camera.toFile();
    if (!file || recording.length >= MAX_RECORDED) return;
    recording.push(file);
    if (recording === files) button.textContent = `Recording… ${recording.length}`;
  };
  const start = (event) => {
    event.preventDefault();
    if (files) return;
    files = [];
    first = take(); // Even a short press takes an image.
    timer = setInterval(take, RECORD_INTERVAL);
  };
  const stop = async () => {
    if (!files) return;
    clearInterval(timer);
    const recorded = files;
    await first;
    files = null;
    button.textContent = label;
    onFiles(recorded);
  };
  button.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    button.setPointerCapture(event.pointerId);
    button.focus();
    start(event);
  });
  for (const name of ["pointerup", "pointercancel", "blur"]) button.addEventListener(name, stop);
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // A long touch.
  const isPress = (event) => event.key === " " || event.key === "Enter";
  button.addEventListener("keydown", (event) => isPress(event) && start(event));
  button.addEventListener("keyup", (event) => isPress(event) && stop());
  return button;
}
