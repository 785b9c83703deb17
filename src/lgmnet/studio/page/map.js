// Map of the support images in the plane, and of the query.

import { $, makeSvg } from "./dom.js";
import { classColor } from "./pictures.js";
import { state } from "./state.js";

const WIDTH = 320;
const HEIGHT = 220;
const MARGIN = 16;
const MIN_POINTS = 3;

/** Draw a dot for each support image in the color of its class, and a ring for the query. */
export function drawMap(query = null) {
  const points = state.classifier?.map ?? [];
  const figure = $("#map");
  figure.hidden = points.length < MIN_POINTS;
  if (figure.hidden) return;
  const all = query ? [...points, query] : points;
  const toX = makeScale(all.map((point) => point[0]), WIDTH);
  const toY = makeScale(all.map((point) => point[1]), HEIGHT);
  const circle = ([x, y], attributes) =>
    makeSvg("circle", { cx: toX(x), cy: HEIGHT - toY(y), ...attributes });
  const nodes = state.classifier.class_details.flatMap(({ name, images }) =>
    images.map(({ place }) => {
      const dot = circle(points[place], { r: 4.5, fill: classColor(name) });
      const title = makeSvg("title", {});
      title.textContent = name;
      dot.append(title);
      return dot;
    }),
  );
  if (query)
    nodes.push(circle(query, { r: 9, fill: "none", stroke: "currentColor", "stroke-width": 2.5 }));
  $("svg", figure).replaceChildren(...nodes);
  $("#legend").textContent = query ? "; the ring is the query" : "";
}

function makeScale(values, size) {
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  return (value) => MARGIN + ((value - low) / range) * (size - 2 * MARGIN);
}
