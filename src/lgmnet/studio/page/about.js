// Facts about the classifier: what it judges by, and the estimate of its accuracy.

import * as api from "./api.js";
import { $, makeElement, makeSvg } from "./dom.js";
import { state } from "./state.js";

const GAP = 0.6; // Percent of the bar between two shares.
const MIN_SHARE = 0.005; // Smaller shares would be shown as 0 %.
const N_COLORS = 6;
const ESTIMATE_DELAY = 800; // Milliseconds without a change before the accuracy is estimated.
const MAX_IMAGES = 200; // Larger classifiers are estimated on demand, which takes a while.
const MAX_CONFUSIONS = 6;

let waiting = 0;
let request = null; // Aborts the estimate that runs.

const percent = (value) => `${value.toFixed(0)} %`;
const countImages = (count) => (count === 1 ? "1 image" : `${count} images`);

export function updateAbout(classifier, previous) {
  $("#about").hidden = false;
  showAspects(classifier.judged_by);
  if (classifier.etag !== previous?.etag) scheduleEstimate(classifier);
}

export function resetAbout() {
  cancelEstimate();
  $("#about").hidden = true;
}

function showAspects(shares) {
  const names = Object.keys(shares).sort(); // A word keeps its color when the order changes.
  const color = (name) => `var(--share-${(names.indexOf(name) % N_COLORS) + 1})`;
  const visible = Object.entries(shares).filter(([, share]) => share >= MIN_SHARE);
  $("#aspects").hidden = !visible.length;
  let start = 0;
  $("#aspects svg").replaceChildren(
    ...visible.map(([name, share]) => {
      const width = Math.max(0, 100 * share - GAP);
      const bar = makeSvg("rect", { x: start, width, height: 12 });
      bar.style.fill = color(name);
      start += 100 * share;
      return bar;
    }),
  );
  $("#aspects ul").replaceChildren(
    ...visible.map(([name, share]) => {
      const dot = makeElement("i", { className: "dot" });
      dot.setAttribute("aria-hidden", "true");
      dot.style.background = color(name);
      return makeElement("li", {}, dot, `${name} ${percent(100 * share)}`);
    }),
  );
}

function cancelEstimate() {
  clearTimeout(waiting);
  request?.abort();
  request = null;
  showEstimate("");
}

/** Estimate the accuracy once nothing has changed for a moment. */
function scheduleEstimate({ class_details: classes }) {
  cancelEstimate();
  const nImages = classes.reduce((sum, { shot }) => sum + shot, 0);
  $("#run-estimate").hidden = nImages <= MAX_IMAGES;
  if (nImages > MAX_IMAGES) return;
  showEstimate("Estimating…");
  waiting = setTimeout(runEstimate, ESTIMATE_DELAY);
}

async function runEstimate() {
  const controller = new AbortController();
  request = controller;
  $("#run-estimate").hidden = true;
  showEstimate("Estimating…");
  try {
    const estimate = await api.estimate(state.classifier.id, controller.signal);
    // Another page may have changed the classifier since this one showed it.
    const isCurrent = estimate.etag === state.classifier?.etag;
    if (request === controller) showEstimate(...(isCurrent ? describe(estimate) : [""]));
  } catch (error) {
    if (request === controller) showEstimate(`No estimate: ${error.message}`);
  }
}

function showEstimate(result, facts = []) {
  $("#estimate .result").textContent = result;
  $("#estimate ul").hidden = !facts.length;
  $("#estimate ul").replaceChildren(
    ...facts.map((textContent) => makeElement("li", { textContent })),
  );
}

/** Describe an estimate: one sentence, and facts for a list. */
function describe(estimate) {
  const { asked, right, accuracy, interval, confusions } = estimate;
  const facts = confusions
    .slice(0, MAX_CONFUSIONS)
    .map(({ label, predicted, images }) => `${label} taken for ${predicted}: ${countImages(images)}`);
  const nMore = confusions.length - facts.length;
  if (nMore > 0) facts.push(`${nMore} more kinds of mistakes`);
  if (estimate.not_asked) facts.push(`alone in their class, so not tested: ${countImages(estimate.not_asked)}`);
  if (estimate.copies) facts.push(`copies, which count once: ${countImages(estimate.copies)}`);
  for (const places of estimate.in_several_classes)
    facts.push(`the same image is in ${places.map(className).join(" and ")}`);
  if (!interval) return ["Add a second image to a class to estimate it.", facts];
  const [low, high] = interval.map((value) => value.toFixed(0));
  return [
    `About ${percent(accuracy)} (95 % interval ${low} to ${high} %): ${right} of ` +
      `${countImages(asked)} are recognised when left out.`,
    facts,
  ];
}

function className(place) {
  const classes = state.classifier.class_details;
  return classes.find(({ images }) => images.some((image) => image.place === place)).name;
}

$("#run-estimate").addEventListener("click", runEstimate);
