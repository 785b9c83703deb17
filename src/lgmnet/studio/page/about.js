// Facts about the classifier: what it judges by, and the estimate of its accuracy.

import * as api from "./api.js";
import { $, makeElement, makeSvg } from "./dom.js";
import { state } from "./state.js";

const GAP = 0.6; // Percent of the bar between two shares.
const MIN_SHARE = 0.005; // Smaller shares would be shown as 0 %.
const N_COLORS = 6;
const ESTIMATE_DELAY = 800; // Milliseconds without a change before the accuracy is estimated.
const MAX_IMAGES = 200; // Larger classifiers are estimated on demand, which takes a while.

let waiting = 0;
let request = null; // Aborts the estimate that runs.

const percent = (value) => `${value.toFixed(0)} %`;
const countImages = (count) => (count === 1 ? "1 image" : `${count} images`);

export function updateAbout(classifier, previous) {
  $("#about").hidden = false;
  showAspects(classifier.judged_by);
  if (classifier.etag !== previous?.etag)
    scheduleEstimate(classifier, classifier.id !== previous?.id);
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
}

/** Estimate the accuracy once nothing has changed for a moment; the last estimate stays till then. */
function scheduleEstimate({ class_details: classes }, isOther) {
  cancelEstimate();
  const nImages = classes.reduce((sum, { shot }) => sum + shot, 0);
  const isLarge = nImages > MAX_IMAGES;
  if (isOther || isLarge) showEstimate("");
  $("#run-estimate").hidden = !isLarge;
  showProgress(!isLarge);
  if (!isLarge) waiting = setTimeout(runEstimate, ESTIMATE_DELAY);
}

async function runEstimate() {
  const controller = new AbortController();
  request = controller;
  $("#run-estimate").hidden = true;
  showProgress(true);
  let result;
  try {
    result = describe(await api.estimate(state.classifier.id, controller.signal));
  } catch (error) {
    result = [`No estimate: ${error.message}`];
  }
  if (request !== controller) return; // The classifier has changed, so the result is outdated.
  showProgress(false);
  showEstimate(...result);
}

function showProgress(isBusy) {
  $("#estimate").setAttribute("aria-busy", String(isBusy));
  $("#estimate .progress").textContent = isBusy ? "estimating…" : "";
}

function showEstimate(result, facts = []) {
  const [first, ...others] = facts;
  $("#estimate .result").textContent = result;
  $("#estimate details").hidden = !facts.length;
  $("#estimate summary").textContent = others.length ? `${first}, and ${others.length} more` : first;
  $("#estimate ul").replaceChildren(
    ...others.map((textContent) => makeElement("li", { textContent })),
  );
}

/** Describe an estimate: one sentence, and facts for a list. */
function describe({ etag, asked, right, accuracy, interval, ...estimate }) {
  if (etag !== state.classifier.etag)
    return ["The classifier was changed elsewhere. Reload the page to see its estimate."];
  const facts = [
    ...estimate.in_several_classes.map(
      (places) => `the same image is in ${places.map(className).join(" and ")}`,
    ),
    ...estimate.confusions.map(
      ({ label, predicted, images }) => `${label} taken for ${predicted}: ${countImages(images)}`,
    ),
  ];
  if (estimate.not_asked)
    facts.push(`alone in their class, so not tested: ${countImages(estimate.not_asked)}`);
  if (estimate.copies) facts.push(`copies, which count once: ${countImages(estimate.copies)}`);
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
