// Classify an image with an exported classifier, in a browser, with onnxruntime-web:
//
//   import * as ort from "onnxruntime-web";
//   const session = await ort.InferenceSession.create("model.onnx");
//   const { label, probabilities } = await predict(ort, session, document.querySelector("img"));
//
// Where the classifier knows it, `none` is the probability that the image belongs to no class, and
// `isNone` tells if it is above the threshold: that of a rate of false rejections, if one is given
// (predict(ort, session, image, 0.05)).

export const CLASSES = /* classes */ [];
export const NONE = /* thresholds of none */ null;
export const SHAPE = /* shape */ [1, 28, 28]; // Channels, height, width.

/** Label and probability of each class for an <img>, <canvas> or ImageBitmap. */
export async function predict(ort, session, image, rate) {
  const width = image.naturalWidth ?? image.width;
  const height = image.naturalHeight ?? image.height;
  const [channels, rows, columns] = SHAPE;
  const isDrawing = channels === 1;
  // The center of a photo is cropped to the shape; a drawing keeps its size here.
  const scale = isDrawing ? 1 : Math.max(columns / width, rows / height);
  const [w, h] = isDrawing ? [width, height] : [columns, rows];
  const context = new OffscreenCanvas(w, h).getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // Transparent pixels become paper.
  context.fillRect(0, 0, w, h);
  const [scaledWidth, scaledHeight] = [width * scale, height * scale];
  context.drawImage(image, (w - scaledWidth) / 2, (h - scaledHeight) / 2, scaledWidth, scaledHeight);
  const { data } = context.getImageData(0, 0, w, h);
  const pixels = isDrawing ? toDrawing(toGray(data), w, h, columns) : toPlanes(data);
  const images = new ort.Tensor("uint8", pixels, [1, ...SHAPE]);
  const outputs = await session.run({ images });
  const output = outputs.probabilities.data;
  const best = output.indexOf(Math.max(...output));
  const probabilities = Object.fromEntries(CLASSES.map((name, i) => [name, output[i]]));
  const answer = { label: CLASSES[best], probabilities };
  if (!NONE) return answer;
  const none = outputs.none.data[0];
  return { ...answer, none, isNone: none > findLimit(rate) };
}

/** Probability of none above which an image belongs to no class, for a rate of false rejections. */
export function findLimit(rate) {
  if (rate === undefined) return NONE.threshold;
  const { rates, thresholds } = NONE;
  const next = rates.findIndex((value) => value >= rate);
  if (next <= 0) return thresholds[next < 0 ? rates.length - 1 : 0];
  const [low, high] = [Math.log(rates[next - 1]), Math.log(rates[next])];
  const part = (Math.log(rate) - low) / (high - low);
  return thresholds[next - 1] + part * (thresholds[next] - thresholds[next - 1]);
}

/** Luminance of RGBA pixels. */
function toGray(data) {
  return Float64Array.from(
    { length: data.length / 4 },
    (_, i) => 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2],
  );
}

/** RGBA pixels as three planes: red, green and blue. */
export function toPlanes(data) {
  const count = data.length / 4;
  return Uint8Array.from({ length: 3 * count }, (_, i) => data[4 * (i % count) + Math.floor(i / count)]);
}

/** Gray picture as a drawing with ink = 255 on 0, side x side. */
export function toDrawing(gray, width, height, side) {
  // The median of the border is the paper. Ink is the difference from it, dark or light.
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
  const narrowed = transpose(resizeRows(square, longest, side), side);
  const ink = transpose(resizeRows(narrowed, longest, side), side);
  const darkest = ink.reduce((a, b) => Math.max(a, b), 0) || 1;
  return Uint8Array.from(ink, (value) => Math.round((255 * Math.max(value, 0)) / darkest));
}

/** Resize every row of `from` numbers to `to` numbers, bicubic, antialiased when it shrinks. */
function resizeRows(rows, from, to) {
  if (from === to) return rows;
  const step = from / to;
  const scale = Math.max(step, 1);
  const count = rows.length / from;
  const resized = new Float64Array(count * to);
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * step;
    const first = Math.max(Math.floor(center - 2 * scale + 0.5), 0);
    const last = Math.min(Math.floor(center + 2 * scale + 0.5), from);
    const weights = [];
    for (let j = first; j < last; j++) weights.push(cubic((j + 0.5 - center) / scale));
    const sum = weights.reduce((a, b) => a + b, 0);
    for (let row = 0; row < count; row++) {
      let value = 0;
      weights.forEach((weight, k) => (value += weight * rows[row * from + first + k]));
      resized[row * to + i] = value / sum;
    }
  }
  return resized;
}

/** Transpose rows of `width` numbers. */
function transpose(rows, width) {
  const height = rows.length / width;
  return Float64Array.from(rows, (_, i) => rows[(i % height) * width + Math.floor(i / height)]);
}

/** Keys' cubic kernel with a = -0.5, as in Pillow. */
function cubic(x) {
  const d = Math.abs(x);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}
