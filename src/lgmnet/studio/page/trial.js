// The panel to try the classifier: draw, drop, paste or film a query, and see its prediction.

import * as api from "./api.js";
import { MAX_BATCH_IMAGES } from "./changes.js";
import { $, makeButton, makeElement, makeSvg } from "./dom.js";
import { Camera, Pad, acceptImages, chooseFiles, isImage } from "./inputs.js";
import { drawMap } from "./map.js";
import { reportErrors, showError } from "./messages.js";
import { classColor, makeThumbnail } from "./pictures.js";
import { state } from "./state.js";

const MAX_BARS = 12;
const MAX_ATTENTION_IMAGES = 6;
const MIN_ATTENTION = 0.02;
const STROKE_INTERVAL = 120; // Milliseconds between two predictions while the user draws.
const CAMERA_INTERVAL = 300;
const NONE = "none of these";

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
const cameraButton = makeButton("Camera", () => reportErrors(toggleCamera));
$("#query .tools").append(
  makeButton("Clear", clearTrial),
  makeButton("Files…", async () => queryImages(await chooseFiles())),
  cameraButton,
);
acceptImages($("#query"), (files) => queryImages(files.map(({ file }) => file)));

// On a phone, show the link to this panel while the panel is out of sight.
new IntersectionObserver(([entry]) => ($(".jump").hidden = entry.isIntersecting)).observe($("#query"));

export function clearTrial() {
  pad.clear();
  queryFiles = [];
  showPredictions(null);
}

/** Predict the query again with the new classifier. */
export function updateTrial() {
  drawMap();
  predict();
}

async function queryDrawing() {
  if (pad.isEmpty) return;
  queryFiles = [await pad.toFile()];
  predict();
}

async function queryImages(files) {
  const images = files.filter(isImage);
  if (!images.length) {
    if (files.length) showError(new Error(`'${files[0].name}' is not an image.`));
    return;
  }
  if (camera) await toggleCamera();
  queryFiles = images.slice(0, MAX_BATCH_IMAGES);
  pad.clear();
  try {
    await pad.show(images[0]);
  } catch {
    // The browser cannot show the image; the server may still read it, or says why it cannot.
  }
  predict();
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
    try {
      const response = await api.predict(state.classifier.id, queryFiles);
      if (queryFiles.length) showPredictions(response);
    } catch (error) {
      if (error.status !== 404) showError(error);
      isOutdated = false;
    }
  }
  isPredicting = false;
  $("#try").setAttribute("aria-busy", "false");
}

const percent = (value, digits) => `${(100 * value).toFixed(digits)} %`;
const labelOf = ({ label, none_of_these: isNone }) => (isNone ? NONE : label);

function showPredictions(response) {
  const first = response?.predictions[0];
  $("#attention").hidden = $("#all-predictions").hidden = true;
  $("#bars").replaceChildren();
  drawMap(first?.map);
  if (!first || first.error) {
    const textContent = first?.error ?? "The prediction appears here as you draw.";
    $("#prediction").replaceChildren(makeElement("p", { className: "note", textContent }));
  } else {
    const { label, none_of_these: isNone, probabilities } = first;
    const text = isNone ? NONE : `${label}, ${percent(probabilities[label], 0)}`;
    const detail = isNone
      ? `It fits no class; the closest is ${label}.`
      : `predicted in ${response.milliseconds.toFixed(0)} ms`;
    $("#prediction").replaceChildren(
      makeElement("p", { textContent: text }),
      makeElement("small", { textContent: detail }),
    );
    showBars(probabilities);
    showAttention(first.support_attention);
  }
  if (response?.predictions.length > 1) showTable(response.predictions);
}

function showBars(probabilities) {
  let entries = Object.entries(probabilities);
  if (entries.length > MAX_BARS) entries = entries.sort((a, b) => b[1] - a[1]).slice(0, MAX_BARS);
  $("#bars").append(
    ...entries.map(([name, probability]) => {
      const bar = makeSvg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
      bar.append(makeSvg("rect", { width: 100 * probability, height: 12, fill: classColor(name) }));
      return makeElement(
        "li",
        {},
        makeElement("span", { textContent: name, title: name }),
        makeElement("div", { className: "bar" }, bar),
        makeElement("span", { textContent: percent(probability, 1) }),
      );
    }),
  );
}

function showAttention(attention) {
  const images = new Map();
  for (const { name, images: ofClass } of state.classifier.class_details)
    for (const image of ofClass) images.set(image.place, { ...image, name });
  const visible = attention
    .filter(({ image, weight }) => weight >= MIN_ATTENTION && images.has(image))
    .slice(0, MAX_ATTENTION_IMAGES);
  $("#attention .row").replaceChildren(
    ...visible.map(({ image, weight }) =>
      makeElement(
        "figure",
        {},
        makeThumbnail(images.get(image), `An image of ${images.get(image).name}`),
        makeElement("figcaption", { textContent: percent(weight, 0) }),
      ),
    ),
  );
  $("#attention").hidden = !visible.length;
}

function showTable(predictions) {
  $("#all-predictions").hidden = false;
  $("#all-predictions summary").textContent = `All ${predictions.length} predictions`;
  $("#all-predictions tbody").replaceChildren(
    ...predictions.map((prediction) => {
      const { image, error, label, probabilities } = prediction;
      const texts = error ? [image, error, ""] : [image, labelOf(prediction), percent(probabilities[label], 0)];
      return makeElement("tr", {}, ...texts.map((textContent) => makeElement("td", { textContent })));
    }),
  );
}
