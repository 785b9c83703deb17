// Facts about the classifier: what it judges by, and how accurate it is.

import { $, makeElement, makeSvg } from "./dom.js";
import { cancelEstimate, scheduleEstimate } from "./estimate.js";

const GAP = 0.6; // Percent of the bar between two shares.
const MIN_SHARE = 0.005; // Smaller shares would be shown as 0 %.
const N_COLORS = 6;

const percent = (value) => `${value.toFixed(0)} %`;

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
