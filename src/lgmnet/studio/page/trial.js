// The panel to try the classifier: draw, drop, paste, choose or film a query.

import * as api from "./api.js";
import { Camera } from "./camera.js";
import { MAX_BATCH_IMAGES } from "./changes.js";
import { $, makeButton, makeElement } from "./dom.js";
import { acceptImages, chooseFiles, sortFiles } from "./files.js";
import { drawMap } from "./map.js";
import { reportErrors, showError } from "./messages.js";
import { Pad } from "./pad.js";
import { clearAnswers, showAnswers } from "./answers.js";
import { state } from "./state.js";

const MAX_BATCH_BYTES = 30e6;
const STROKE_INTERVAL = 120; // Milliseconds between two predictions while the user draws.
const CAMERA_INTERVAL = 300;
const TOO_LARGE = 413;
const TOPIC = "query";

let queryFiles = [];
let isPredicting = false;
let isOutdated = false; // True if the query or the classifier has changed since the last request.
let lastStroke = 0;
let camera = null;
let timer = 0;

const stage = $("#query .stage");
const pad = new Pad(stage, {
  hint: "Draw, drop or paste an image",
  onStroke: () => {
    const now = performance.now();
    if (now - lastStroke < STROKE_INTERVAL) return;
    lastStroke = now;
    queryDrawing();
  },
  onDone: queryDrawing,
  onEnter: queryDrawing,
});
const chooseButton = makeButton("Drop, paste or choose an image", chooseQuery);
chooseButton.className = "choose";
const photo = makeElement("img", { alt: "The image to classify", className: "query-image" });
stage.append(chooseButton, photo);
const cameraButton = makeButton("Camera", () => reportErrors(toggleCamera, TOPIC));
const drawButton = makeButton("Draw", () => startDrawing());
$("#query .tools").append(
  makeButton("Files…", chooseQuery),
  cameraButton,
  drawButton,
  makeButton("Clear", clearTrial),
);
acceptImages($("#try"), (files) => queryImages(files.map(({ file }) => file)));

/** Show one of: the pad, an image, or the place for one. */
function showStage(mode) {
  pad.canvas.hidden = mode !== "draw";
  pad.hint.hidden = mode !== "draw" || !pad.isEmpty;
  photo.hidden = mode !== "image";
  chooseButton.hidden = mode !== "choose";
  drawButton.hidden = mode === "draw";
}

const emptyMode = () => (state.classifier?.kind === "photos" ? "choose" : "draw");

export function clearTrial() {
  pad.wipe();
  queryFiles = [];
  showStage(emptyMode());
  clearAnswers();
  drawMap();
}

/** Predict the query again with the new classifier. */
export function updateTrial(classifier, previous) {
  if (!queryFiles.length && pad.isEmpty && classifier.kind !== previous?.kind)
    showStage(emptyMode());
  drawMap();
  predict();
}

async function startDrawing() {
  if (camera) await toggleCamera();
  clearTrial();
  showStage("draw");
  pad.canvas.focus();
}

async function queryDrawing() {
  queryFiles = pad.isEmpty ? [] : [await pad.toFile()];
  if (!queryFiles.length) {
    clearAnswers();
    drawMap();
  }
  predict();
}

async function chooseQuery() {
  queryImages(await chooseFiles());
}

async function queryImages(files) {
  if (!files.length) return;
  const { images, problems } = sortFiles(files);
  await reportErrors(async () => {
    if (problems.length) throw new Error(`Not classified: ${problems.join(" ")}`);
  }, TOPIC);
  if (!images.length) return;
  if (camera) await toggleCamera();
  queryFiles = images;
  pad.wipe();
  showQuery(images[0]);
  clearAnswers(images.length > 1 ? `Classifying ${images.length} images…` : "");
  predict();
}

/** Show an image; one that the browser cannot show leaves its name. */
function showQuery(file) {
  URL.revokeObjectURL(photo.src);
  photo.src = URL.createObjectURL(file);
  photo.alt = file.name;
  showStage("image");
}

async function toggleCamera() {
  if (camera) {
    camera.stop();
    camera = null;
    clearInterval(timer);
  } else {
    camera = await Camera.start(stage);
    timer = setInterval(async () => {
      const frame = isPredicting ? null : await camera?.toFile();
      if (!frame) return;
      queryFiles = [frame];
      predict();
    }, CAMERA_INTERVAL);
  }
  cameraButton.textContent = camera ? "Stop" : "Camera";
}

/** Predict the query. While a request runs, only the newest query waits. */
async function predict() {
  isOutdated = true;
  if (isPredicting) return;
  isPredicting = true;
  $("#try").setAttribute("aria-busy", "true");
  while (isOutdated && state.classifier && queryFiles.length) {
    isOutdated = false;
    const files = queryFiles;
    try {
      const answers = await predictAll(files);
      if (queryFiles === files && answers) showAnswers(files, answers, camera ? null : showQuery);
    } catch (error) {
      if (error.status !== 404) showError(error, TOPIC);
      isOutdated = false;
    }
  }
  isPredicting = false;
  $("#try").setAttribute("aria-busy", "false");
}

/** Predict files in several requests if they are many or large; null if the query has changed. */
async function predictAll(files) {
  const predictions = [];
  let milliseconds = 0;
  let maxImages = MAX_BATCH_IMAGES;
  while (predictions.length < files.length) {
    if (isOutdated && predictions.length) return null;
    const batch = takeBatch(files, predictions.length, maxImages);
    try {
      const response = await api.predict(state.classifier.id, batch);
      predictions.push(...response.predictions);
      milliseconds += response.milliseconds;
    } catch (error) {
      if (error.status !== TOO_LARGE || batch.length === 1) throw error;
      maxImages = Math.ceil(batch.length / 2);
    }
  }
  return { predictions, milliseconds };
}

function takeBatch(files, start, maxImages) {
  const batch = [];
  let bytes = 0;
  for (const file of files.slice(start, start + maxImages)) {
    bytes += file.size;
    if (batch.length && bytes > MAX_BATCH_BYTES) break;
    batch.push(file);
  }
  return batch;
}
