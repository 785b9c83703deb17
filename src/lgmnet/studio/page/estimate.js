// The estimate of the accuracy, and the images that may be in the wrong class.

import * as api from "./api.js";
import { editClassifier } from "./changes.js";
import { $, makeButton, makeElement } from "./dom.js";
import { makePicture } from "./pictures.js";
import { findImage, state } from "./state.js";

const DELAY = 800; // Milliseconds without a change before the accuracy is estimated.
const MAX_IMAGES = 200; // Larger classifiers are estimated on demand, which takes a while.

let waiting = 0;
let request = null; // Aborts the estimate that runs.

const percent = (value) => `${value.toFixed(0)} %`;
const countImages = (count) => (count === 1 ? "1 image" : `${count} images`);

export function cancelEstimate() {
  clearTimeout(waiting);
  request?.abort();
  request = null;
}

/** Estimate the accuracy once nothing has changed for a moment; the last estimate stays till then. */
export function scheduleEstimate({ class_details: classes }, isOther) {
  cancelEstimate();
  const nImages = classes.reduce((sum, { shot }) => sum + shot, 0);
  const isLarge = nImages > MAX_IMAGES;
  if (isOther || isLarge) showEstimate("");
  showSuspects([]); // Their places are those of the version before.
  $("#run-estimate").hidden = !isLarge;
  showProgress(!isLarge);
  if (!isLarge) waiting = setTimeout(runEstimate, DELAY);
}

async function runEstimate() {
  const controller = new AbortController();
  request = controller;
  $("#run-estimate").hidden = true;
  showProgress(true);
  let estimate = null;
  let problem = "";
  try {
    estimate = await api.estimate(state.classifier.id, controller.signal);
  } catch (error) {
    problem = `No estimate: ${error.message}`;
  }
  if (request !== controller) return; // The classifier has changed, so the result is outdated.
  showProgress(false);
  if (estimate && estimate.etag !== state.classifier.etag) {
    estimate = null;
    problem = "The classifier was changed elsewhere. Reload the page to see its estimate.";
  }
  if (estimate) {
    showEstimate(...describe(estimate));
    showSuspects(estimate.suspects);
    showMoreImages(estimate);
  } else showEstimate(problem);
}

function showProgress(isBusy) {
  $("#estimate").setAttribute("aria-busy", String(isBusy));
  $("#estimate .progress").textContent = isBusy ? "estimating…" : "";
}

function showEstimate(result, facts = []) {
  const [first, ...others] = facts;
  $("#estimate .result").textContent = result;
  $("#more-images").hidden = true;
  $("#facts").hidden = !facts.length;
  $("#facts summary").textContent = others.length ? `${first}, and ${others.length} more` : first;
  $("#facts ul").hidden = !others.length;
  $("#facts ul").replaceChildren(
    ...others.map((textContent) => makeElement("li", { textContent })),
  );
}

/** Show in one line what twice the images would give, where the estimate says so. */
function showMoreImages({ accuracy, with_twice_the_images: more }) {
  $("#more-images").hidden = !more;
  if (!more) return;
  const [low, high] = more.interval.map((value) => value.toFixed(0));
  // Where all images were recognised, the estimate is 100 %, and what is expected is less.
  const isMore = Math.round(more.accuracy) > Math.round(accuracy);
  const expected = isMore ? `about ${percent(more.accuracy)}` : "about as accurate as now";
  $("#more-images").textContent =
    `With twice the images: ${expected} (95 % interval ${low} to ${high} %).`;
}

/** Describe an estimate: one sentence, and facts for a list. */
function describe({ asked, right, accuracy, interval, ...estimate }) {
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

function findPlace(place) {
  for (const { name, images } of state.classifier.class_details)
    for (const image of images) if (image.place === place) return { ...image, className: name };
  return null;
}

const className = (place) => findPlace(place).className;

function showSuspects(suspects) {
  $("#suspects").hidden = !suspects.length;
  $("#suspects summary").textContent = `Check ${countImages(suspects.length)}: the class may be wrong`;
  $("#suspects ul").replaceChildren(
    ...suspects.map(({ image: place, label, predicted, probability }) => {
      const image = findPlace(place);
      const move = () => editClassifier(() => ({ move: findImage(image.key).place, into: predicted }));
      const name = image.file ? ` (${image.file})` : "";
      return makeElement(
        "li",
        {},
        makePicture(image, `An image of ${label}`),
        makeElement("span", {
          textContent: `In ${label}, looks like ${predicted}, ${percent(100 * probability)}${name}`,
        }),
        makeButton(`Move to ${predicted}`, move),
      );
    }),
  );
}

$("#run-estimate").addEventListener("click", runEstimate);
