// The answers to the query: one in detail, and many as a list that can be downloaded.

import { uploadImages } from "./changes.js";
import { addClass } from "./board.js";
import { $, makeButton, makeElement, makeSvg } from "./dom.js";
import { download } from "./library.js";
import { drawMap } from "./map.js";
import { capture } from "./history.js";
import { showStatus } from "./messages.js";
import { classColor, makePicture } from "./pictures.js";
import { state } from "./state.js";

const MAX_BARS = 12;
const MAX_ATTENTION_IMAGES = 6;
const MIN_ATTENTION = 0.02;
const NONE = "none of these";
const HINT = "The prediction appears here.";

let files = [];
let predictions = [];
let selected = 0; // Index of the answer that is shown in detail.
let showFile = null; // Shows the file of an answer in the stage.

const percent = (value, digits) => `${(100 * value).toFixed(digits)} %`;
const labelOf = ({ label, none_of_these: isNone }) => (isNone ? NONE : label);
const shareOf = ({ none_of_these: isNone, none_probability: none, probabilities, label }) =>
  isNone ? none : probabilities[label];

/** Take all answers away, and show a hint in their place. */
export function clearAnswers(hint = "") {
  files = [];
  predictions = [];
  $("#attention").hidden = $("#all-predictions").hidden = $("#wrong").hidden = true;
  $("#bars").replaceChildren();
  showNote(hint || HINT);
}

/** Show the answers to files; `onSelect` shows the file of one that the user selects. */
export function showAnswers(newFiles, { predictions: answers, milliseconds }, onSelect) {
  const isSame = newFiles === files;
  files = newFiles;
  predictions = answers;
  showFile = onSelect;
  if (!isSame) selected = 0;
  showOne(milliseconds);
  $("#all-predictions").hidden = predictions.length < 2;
  if (predictions.length > 1) showList();
}

function showNote(textContent) {
  $("#prediction").replaceChildren(makeElement("p", { className: "note", textContent }));
}

function showOne(milliseconds = null) {
  const answer = predictions[selected];
  $("#attention").hidden = true;
  $("#bars").replaceChildren();
  drawMap(answer.map);
  $("#wrong").hidden = false;
  if (answer.error) {
    $("#wrong").hidden = true;
    showNote(answer.error);
    return;
  }
  const { label, none_of_these: isNone, probabilities } = answer;
  const share = shareOf(answer);
  const text = share === null ? NONE : `${labelOf(answer)}, ${percent(share, 0)}`;
  const details = [];
  if (predictions.length > 1) details.push(answer.image);
  if (isNone) details.push(`It fits no class; the closest is ${label}.`);
  else if (milliseconds !== null) details.push(`predicted in ${milliseconds.toFixed(0)} ms`);
  $("#prediction").replaceChildren(
    makeElement("p", { textContent: text }),
    makeElement("small", { textContent: details.join(" · ") }),
  );
  showBars(probabilities);
  showAttention(answer.support_attention);
  showClasses(label);
}

function showBars(probabilities) {
  const sorted = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  $("#bars").replaceChildren(
    ...sorted.slice(0, MAX_BARS).map(([name, probability]) => {
      const bar = makeSvg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none" });
      bar.setAttribute("aria-hidden", "true");
      bar.append(makeSvg("rect", { width: 100 * probability, height: 10, fill: classColor(name) }));
      return makeElement(
        "li",
        {},
        makeElement("span", { textContent: name }),
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
        makePicture(images.get(image), `An image of ${images.get(image).name}`),
        makeElement("figcaption", { textContent: percent(weight, 0) }),
      ),
    ),
  );
  $("#attention").hidden = !visible.length;
}

/** Offer all classes but the one that was predicted, and a new one. */
function showClasses(predicted) {
  const select = $("#right-class");
  if (document.activeElement === select) return; // The user is choosing.
  const names = state.cards.map((card) => card.name).filter((name) => name && name !== predicted);
  select.replaceChildren(
    ...names.map((name) => makeElement("option", { value: name, textContent: name })),
    makeElement("option", { value: "", textContent: "a new class" }),
  );
}

function addToClass(name) {
  const file = files[selected];
  const card = state.cards.find((card) => card.name === name) ?? addClass();
  const before = capture();
  card.waiting.push(file);
  card.render();
  uploadImages(before);
  showStatus(`Added '${file.name}' to '${card.name}'.`);
}

function showList() {
  $("#all-predictions summary").textContent = `All ${predictions.length} predictions`;
  $("#all-predictions ul").replaceChildren(
    ...predictions.map((prediction, i) => {
      const { image, error } = prediction;
      const share = error ? null : shareOf(prediction);
      const answer = error ?? labelOf(prediction) + (share === null ? "" : `, ${percent(share, 0)}`);
      const button = makeButton("", () => select(i));
      button.append(
        makePicture(files[i], ""),
        makeElement("span", {}, makeElement("b", { textContent: answer }), image),
      );
      button.setAttribute("aria-pressed", String(i === selected));
      return makeElement("li", {}, button);
    }),
  );
}

function select(index) {
  selected = index;
  for (const [i, button] of document.querySelectorAll("#all-predictions li button").entries())
    button.setAttribute("aria-pressed", String(i === index));
  showFile?.(files[index]);
  showOne();
}

/** Make a table of all answers, as RFC 4180 defines it. */
function makeCsv() {
  const quote = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
  const classes = state.classifier.class_details.map(({ name }) => name);
  const rows = predictions.map((prediction) => {
    const { image, error, probabilities } = prediction;
    if (error) return [image, "", "", ...classes.map(() => ""), error];
    const shares = classes.map((name) => probabilities[name]?.toFixed(6));
    return [image, labelOf(prediction), shareOf(prediction)?.toFixed(6), ...shares, ""];
  });
  const header = ["file", "answer", "probability", ...classes, "error"];
  return [header, ...rows].map((row) => `${row.map(quote).join(",")}\r\n`).join("");
}

$("#csv").addEventListener("click", () =>
  download(new Blob([makeCsv()], { type: "text/csv" }), "predictions.csv"),
);
$("#wrong").addEventListener("submit", (event) => {
  event.preventDefault();
  addToClass($("#right-class").value);
});
