// Answer an image with an exported classifier, in a browser, with onnxruntime-web:
//
//   import * as ort from "onnxruntime-web";
//   const session = await ort.InferenceSession.create("model.onnx");
//   const { label, probabilities } = await predict(ort, session, document.querySelector("img"));

export const CLASSES = /* classes */ [];
export const SHAPE = /* shape */ [1, 28, 28]; // Channels, height, width.

/** The label and the probability of each class of an <img>, <canvas> or ImageBitmap. */
export async function predict(ort, session, image) {
  const width = image.naturalWidth ?? image.width;
  const height = image.naturalHeight ?? image.height;
  const [channels, tall, wide] = SHAPE;
  // A photo is cropped about its middle; a drawing is taken as it is.
  const zoom = Math.max(wide / width, tall / height);
  const [w, h] = channels === 1 ? [width, height] : [wide, tall];
  const [drawnWide, drawnTall] = channels === 1 ? [w, h] : [width * zoom, height * zoom];
  const context = new OffscreenCanvas(w, h).getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // What is transparent is paper.
  context.fillRect(0, 0, w, h);
  context.drawImage(image, (w - drawnWide) / 2, (h - drawnTall) / 2, drawnWide, drawnTall);
  const { data } = context.getImageData(0, 0, w, h);
  const pixels = channels === 1 ? drawing(gray(data), w, h, wide) : planes(data);
  const images = new ort.Tensor("uint8", pixels, [1, ...SHAPE]);
  const answer = (await session.run({ images })).probabilities.data;
  const best = answer.indexOf(Math.max(...answer));
  const probabilities = Object.fromEntries(CLASSES.map((name, i) => [name, answer[i]]));
  return { label: CLASSES[best], probabilities };
}

/** Luminance of RGBA pixels. */
function gray(data) {
  return Float64Array.from(
    { length: data.length / 4 },
    (_, i) => 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2],
  );
}

/** RGBA pixels as three planes, red, green and blue. */
export function planes(data) {
  const count = data.length / 4;
  return Uint8Array.from({ length: 3 * count }, (_, i) => data[4 * (i % count) + Math.floor(i / count)]);
}

/** A gray picture as the network knows it: ink = 255 on 0, side x side. */
export function drawing(gray, width, height, side) {
  // Paper is what the border is like; ink is whatever differs from it, dark or light.
  const at = (x, y) => gray[y * width + x];
  const border = [];
  for (let x = 0; x < width; x++) border.push(at(x, 0), at(x, height - 1));
  for (let y = 0; y < height; y++) border.push(at(0, y), at(width - 1, y));
  border.sort((a, b) => a - b);
  const paper = (border[(border.length - 1) >> 1] + border[border.length >> 1]) / 2;
  const longest = Math.max(width, height);
  const left = Math.floor((longest - width) / 2);
  const top = Math.floor((longest - height) / 2);
  const square = new Float64Array(longest * longest);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      square[(y + top) * longest + x + left] = Math.abs(at(x, y) - paper);
  const ink = turned(shrunk(turned(shrunk(square, longest, side), side), longest, side), side);
  const most = ink.reduce((a, b) => Math.max(a, b), 0) || 1;
  return Uint8Array.from(ink, (value) => Math.round((255 * Math.max(value, 0)) / most));
}

/** Every row of `from` numbers brought to `to`, bicubic, as wide as the step where it shrinks. */
function shrunk(rows, from, to) {
  if (from === to) return rows;
  const step = from / to;
  const scale = Math.max(step, 1);
  const count = rows.length / from;
  const out = new Float64Array(count * to);
  for (let i = 0; i < to; i++) {
    const middle = (i + 0.5) * step;
    const first = Math.max(Math.floor(middle - 2 * scale + 0.5), 0);
    const last = Math.min(Math.floor(middle + 2 * scale + 0.5), from);
    const weights = [];
    for (let j = first; j < last; j++) weights.push(cubic((j + 0.5 - middle) / scale));
    const sum = weights.reduce((a, b) => a + b, 0);
    for (let row = 0; row < count; row++) {
      let value = 0;
      weights.forEach((weight, k) => (value += weight * rows[row * from + first + k]));
      out[row * to + i] = value / sum;
    }
  }
  return out;
}

/** Rows of `width` numbers as columns. */
function turned(rows, width) {
  const height = rows.length / width;
  return Float64Array.from(rows, (_, i) => rows[(i % height) * width + Math.floor(i / height)]);
}

/** Keys' cubic with a = -0.5, as Pillow has it. */
function cubic(x) {
  const d = Math.abs(x);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}
