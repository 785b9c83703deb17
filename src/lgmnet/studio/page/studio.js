// The page: cards for classes, a place to try, and a classifier that is forged again at every change.

import * as api from "./api.js";
import { Camera, Pad, choose, isImage, takes } from "./inputs.js";

const $ = (selector, within = document) => within.querySelector(selector);
const MOST_BYTES = 30e6;
const MOST_IMAGES = 100;
const BARS = 12;

const state = {
  made: null, // The classifier as the server has it; null while there is none.
  cards: [], // In the order of the page.
  asked: [], // What is asked about now: files.
  busy: 0,
};

// --- saying things

function complain(error) {
  const line = document.createElement("p");
  const words = document.createElement("span");
  words.textContent = error.message ?? String(error);
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "✕";
  close.setAttribute("aria-label", "Close this message");
  close.addEventListener("click", () => line.remove());
  line.append(words, close);
  const alerts = $("#alerts");
  alerts.append(line);
  while (alerts.children.length > 4) alerts.firstChild.remove();
}

const say = (words) => ($("#status").textContent = words);

/** Do something, and say what went wrong if anything does. */
async function attempt(act) {
  try {
    return await act();
  } catch (error) {
    complain(error);
    return undefined;
  }
}

// --- colours and pictures

const colour = (place) => `hsl(${(place * 137.5 + 225) % 360} 62% 52%)`;
const pictures = new Map();

/** The address of an image that the classifier was shown; each is fetched once. */
function pictureOf({ place, key }) {
  if (!pictures.has(key))
    pictures.set(
      key,
      api.picture(state.made.id, place).then(URL.createObjectURL, () => {
        pictures.delete(key);
        return "";
      }),
    );
  return pictures.get(key);
}

function image(shown, alt) {
  const img = document.createElement("img");
  img.alt = alt;
  pictureOf(shown).then((address) => {
    if (address) img.src = address;
  });
  return img;
}

const button = (words, act, title = "") => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  if (title) made.title = title;
  made.addEventListener("click", act);
  return made;
};

// --- the classes

class Card {
  constructor(name, kept = null) {
    this.kept = kept; // The class's name on the server; null while that has no image of it.
    this.images = [];
    this.waiting = [];
    this.element = $("#card").content.firstElementChild.cloneNode(true);
    this.label = $(".label", this.element);
    this.label.value = name;
    this.pad = new Pad($(".stage", this.element), {
      hint: "Draw here, or drop images",
      onEnter: () => this.addDrawing(),
    });
    const tools = $(".tools", this.element);
    this.add = button("Add", () => this.addDrawing(), "Add the drawing to this class (Enter)");
    this.add.classList.add("strong");
    this.clear = button("Clear", () => this.pad.clear());
    this.camera = button("Camera", () => attempt(() => this.toggleCamera()));
    tools.append(
      this.add,
      this.clear,
      button("Files…", async () => this.take(await choose())),
      this.camera,
    );
    takes(this.element, (found) => this.take(found.map((one) => one.file)));
    this.label.addEventListener("change", () => attempt(() => this.rename()));
    this.label.addEventListener("keydown", (event) => event.key === "Enter" && this.label.blur());
    $(".remove", this.element).addEventListener("click", () => attempt(() => this.remove()));
    $("#cards").append(this.element);
    state.cards.push(this);
    this.show();
  }

  get name() {
    return this.kept ?? this.label.value.trim();
  }

  show() {
    const place = state.cards.indexOf(this);
    $(".dot", this.element).style.background = colour(place);
    const count = this.images.length + this.waiting.length;
    $(".count", this.element).textContent = count === 1 ? "1 image" : `${count} images`;
    this.element.setAttribute("aria-label", `Class ${this.name}`);
    const shown = $(".shown", this.element);
    shown.replaceChildren(
      ...this.images.map((one, i) => {
        const box = document.createElement("span");
        box.setAttribute("role", "listitem");
        const drop = button("✕", () => attempt(() => this.drop(one)), "Take this image back");
        drop.setAttribute("aria-label", `Take image ${i + 1} of ${this.name} back`);
        box.append(image(one, `Image ${i + 1} of ${this.name}`), drop);
        return box;
      }),
      ...this.waiting.map(() => {
        const box = document.createElement("span");
        box.className = "waiting";
        box.title = "Waits until two classes have an image";
        return box;
      }),
    );
  }

  async addDrawing() {
    if (this.live) {
      const frame = await this.live.file();
      if (frame) this.take([frame]);
      return;
    }
    if (this.pad.empty) {
      complain(new Error(`Draw something for '${this.name}' first, then add it.`));
      return;
    }
    const file = await this.pad.file();
    this.pad.clear();
    this.take([file]);
  }

  async toggleCamera() {
    if (this.live) {
      this.live.stop(!this.pad.empty);
      this.live = null;
    } else {
      this.live = await Camera.start($(".stage", this.element));
    }
    this.camera.textContent = this.live ? "Stop" : "Camera";
    this.add.textContent = this.live ? "Take" : "Add";
    this.clear.hidden = Boolean(this.live);
  }

  take(files) {
    const good = files.filter(isImage);
    const others = files.filter((file) => !isImage(file));
    if (others.length)
      complain(
        new Error(
          `Left out, for they are no images: ${others.slice(0, 5).map((f) => f.name).join(", ")}` +
            (others.length > 5 ? ` and ${others.length - 5} more.` : "."),
        ),
      );
    if (!good.length) return;
    this.waiting.push(...good);
    this.show();
    sync();
  }

  async rename() {
    const name = this.label.value.trim();
    if (!name || state.cards.some((other) => other !== this && other.name === name)) {
      this.label.value = this.name;
      throw new Error(name ? `There is a class '${name}' already.` : "A class needs a name.");
    }
    if (this.kept === null) {
      this.show();
      sync();
    } else if (name !== this.kept) {
      const old = this.kept;
      this.kept = name;
      await change({ rename: old, to: name }, () => {
        this.kept = old;
        this.label.value = old;
      });
    }
  }

  async remove() {
    if (this.live) await this.toggleCamera();
    if (this.kept === null) {
      state.cards.splice(state.cards.indexOf(this), 1);
      this.element.remove();
      state.cards.forEach((card) => card.show());
      return;
    }
    await change({ remove: this.kept });
  }

  drop(one) {
    return change({ drop: one.place });
  }
}

/** A name that no class has yet. */
function freeName() {
  for (let i = 1; ; i++) if (!state.cards.some((card) => card.name === `class ${i}`)) return `class ${i}`;
}

// --- one change after the other

let queue = Promise.resolve();

/** Changes are made one at a time: each builds on the version that the one before gave. */
function inTurn(act) {
  $("#board").setAttribute("aria-busy", String(++state.busy > 0));
  queue = queue
    .then(() => attempt(act))
    .finally(() => $("#board").setAttribute("aria-busy", String(--state.busy > 0)));
  return queue;
}

function change(fields, undo = () => {}) {
  return inTurn(async () => {
    try {
      show(await api.edit(state.made.id, state.made.etag, fields));
    } catch (error) {
      undo();
      await again(error);
      throw error;
    }
  });
}

/** After somebody else's change: take theirs. */
async function again(error) {
  if (error.status === 412) show(await api.get(state.made.id));
  if (error.status === 404) forget();
}

/** Send the images that wait, as soon as there are two classes of them. */
function sync() {
  return inTurn(async () => {
    for (;;) {
      const images = [];
      let bytes = 0;
      const ready = state.cards.filter((card) => card.waiting.length && card.name);
      const known = state.made ? 2 : ready.length;
      if (!ready.length) return;
      if (known < 2) {
        say("One more class with an image, and the classifier is forged.");
        return;
      }
      // At first one of each class, so that even the first batch makes a classifier.
      const taken = new Map();
      for (let round = 0, more = true; more; round++) {
        more = false;
        for (const card of ready) {
          const file = card.waiting[round];
          if (!file || images.length >= MOST_IMAGES || (images.length > 1 && bytes + file.size > MOST_BYTES)) continue;
          images.push({ file, label: card.name });
          taken.set(card, round + 1);
          bytes += file.size;
          more = true;
        }
      }
      const model = $("#model").value;
      try {
        const made = state.made
          ? await api.edit(state.made.id, state.made.etag, { images })
          : await api.forge({ images, name: $("#name").value.trim() || "untitled", model });
        for (const [card, count] of taken) card.waiting.splice(0, count);
        show(made);
      } catch (error) {
        await again(error);
        if (error.status === 412) continue;
        // What cannot be used is not tried again.
        if (error.status) for (const [card, count] of taken) card.waiting.splice(0, count);
        state.cards.forEach((card) => card.show());
        throw error;
      }
    }
  });
}

// --- what the server has

function show(made) {
  const first = !state.made || state.made.id !== made.id;
  state.made = made;
  history.replaceState(null, "", `#${made.id}`);
  $("#welcome").hidden = true;
  $("#model").disabled = true;
  if (first || document.activeElement !== $("#name")) $("#name").value = made.name;
  const unnamed = made.shown.filter((one) => !state.cards.some((card) => card.name === one.name));
  for (const card of [...state.cards]) {
    if (card.kept === null || made.shown.some((one) => one.name === card.kept)) continue;
    // Renamed elsewhere, if a class has its images; else removed, with whatever waits for it.
    const keys = new Set(card.images.map((shown) => shown.key));
    const renamed = unnamed.find((one) => one.images.some((shown) => keys.has(shown.key)));
    if (renamed) {
      card.kept = renamed.name;
    } else {
      state.cards.splice(state.cards.indexOf(card), 1);
      card.element.remove();
    }
  }
  const inOrder = [];
  for (const one of made.shown) {
    const card = state.cards.find((other) => other.name === one.name) ?? new Card(one.name, one.name);
    card.kept = one.name;
    card.images = one.images;
    if (document.activeElement !== card.label) card.label.value = one.name;
    inOrder.push(card);
  }
  inOrder.push(...state.cards.filter((card) => card.kept === null));
  if (inOrder.some((card, i) => card !== state.cards[i])) {
    state.cards = inOrder;
    $("#cards").append(...inOrder.map((card) => card.element));
  }
  state.cards.forEach((card) => card.show());
  for (const sentence of made.unreadable) complain(new Error(`Left out: ${sentence}`));
  const count = made.shown.reduce((sum, one) => sum + one.shot, 0);
  const took = made.milliseconds ? `, forged in ${made.milliseconds.toFixed(0)} ms` : "";
  const why = made.why ? ` (${made.why})` : "";
  say(`${made.shown.length} classes, ${count} images, model ${made.model}${took}${why}`);
  $("#downloads").disabled = $("#save").disabled = false;
  drawMap();
  ask();
}

/** Start anew, with two empty classes or with none; what was made stays where it is kept. */
function forget(classes = 2) {
  state.made = null;
  state.asked = [];
  history.replaceState(null, "", location.pathname);
  for (const card of state.cards) card.live?.stop(true);
  state.cards = [];
  $("#cards").replaceChildren();
  $("#name").value = "untitled";
  $("#welcome").hidden = false;
  $("#model").disabled = false;
  $("#downloads").disabled = $("#save").disabled = true;
  tryPad.clear();
  showAnswer(null);
  $("#map").hidden = true;
  say("");
  for (let i = 1; i <= classes; i++) new Card(`class ${i}`);
}

// --- trying it

let asking = false;
let askAgain = false;

/** Ask about what is in the box now; while an answer is on its way, only the newest waits. */
async function ask() {
  if (!state.made || !state.asked.length) return;
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  $("#try").setAttribute("aria-busy", "true");
  do {
    askAgain = false;
    const files = state.asked;
    try {
      const answer = await api.predict(state.made.id, files);
      if (state.asked.length) showAnswer(answer);
    } catch (error) {
      if (error.status !== 404) complain(error);
      askAgain = false;
    }
  } while (askAgain);
  asking = false;
  $("#try").setAttribute("aria-busy", "false");
}

function showAnswer(answer) {
  const box = $("#answer");
  const bars = $("#bars");
  const one = answer?.predictions[0];
  box.replaceChildren();
  const line = document.createElement("p");
  box.append(line);
  $("#support_attention").hidden = $("#several").hidden = true;
  bars.replaceChildren();
  drawMap(one?.map);
  if (!one) {
    line.className = "quiet";
    line.textContent = "The answer comes here as you draw.";
    return;
  }
  if (one.error) {
    line.className = "quiet";
    line.textContent = one.error;
  } else {
    const sure = `${(100 * one.probabilities[one.label]).toFixed(0)} %`;
    line.textContent = one.none_of_these ? "none of these" : `${one.label}, ${sure}`;
    box.dataset.label = one.none_of_these ? "" : one.label;
    const small = document.createElement("small");
    small.textContent = one.none_of_these
      ? `It fits no class; the nearest is ${one.label}.`
      : `answered in ${answer.milliseconds.toFixed(0)} ms`;
    box.append(small);
    showBars(one);
    showCarried(one);
  }
  showSeveral(answer.predictions);
}

function showBars(one) {
  const order = Object.entries(one.probabilities);
  const shown = order.length > BARS ? order.sort((a, b) => b[1] - a[1]).slice(0, BARS) : order;
  for (const [name, p] of shown) {
    const line = document.createElement("li");
    const label = document.createElement("span");
    label.textContent = label.title = name;
    const bar = svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(svg("rect", { width: 100 * p, height: 12, fill: colour(placeOf(name)) }));
    const track = document.createElement("div");
    track.className = "bar";
    track.append(bar);
    const value = document.createElement("span");
    value.textContent = `${(100 * p).toFixed(1)} %`;
    line.append(label, track, value);
    $("#bars").append(line);
  }
}

function showCarried(one) {
  const all = state.made.shown.flatMap((c) => c.images.map((shown) => ({ ...shown, name: c.name })));
  const heavy = one.support_attention.filter((c) => c.weight >= 0.02).slice(0, 6);
  const found = heavy.map((c) => [all.find((shown) => shown.place === c.image), c.weight]);
  $("#support_attention .row").replaceChildren(
    ...found.filter(([shown]) => shown).map(([shown, weight]) => {
      const figure = document.createElement("figure");
      const words = document.createElement("figcaption");
      words.textContent = `${(100 * weight).toFixed(0)} %`;
      figure.append(image(shown, `An image of ${shown.name}`), words);
      return figure;
    }),
  );
  $("#support_attention").hidden = !found.length;
}

function showSeveral(all) {
  if (all.length < 2) return;
  $("#several").hidden = false;
  $("#several summary").textContent = `All ${all.length} answers`;
  $("#several tbody").replaceChildren(
    ...all.map((one) => {
      const row = document.createElement("tr");
      const label = one.error ?? (one.none_of_these ? "none of these" : one.label);
      const sure = one.error ? "" : `${(100 * one.probabilities[one.label]).toFixed(0)} %`;
      for (const words of [one.image, label, sure]) {
        const cell = document.createElement("td");
        cell.textContent = words;
        row.append(cell);
      }
      return row;
    }),
  );
}

const placeOf = (name) => Math.max(0, state.cards.findIndex((card) => card.name === name));

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** The images in the plane, a colour for each class; what is asked about is the ring. */
function drawMap(query) {
  const points = state.made?.map ?? [];
  const figure = $("#map");
  figure.hidden = points.length < 3;
  if (figure.hidden) return;
  const [W, H, MARGIN] = [320, 220, 16];
  const all = query ? [...points, query] : points;
  const [xs, ys] = [all.map((p) => p[0]), all.map((p) => p[1])];
  const scaled = (values, size) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (v) => MARGIN + ((v - low) / (high - low || 1)) * (size - 2 * MARGIN);
  };
  const [x, y] = [scaled(xs, W), scaled(ys, H)];
  const nodes = [];
  for (const one of state.made.shown)
    for (const { place } of one.images) {
      const [px, py] = points[place];
      const dot = svg("circle", { cx: x(px), cy: H - y(py), r: 4.5, fill: colour(placeOf(one.name)) });
      const title = svg("title", {});
      title.textContent = one.name;
      dot.append(title);
      nodes.push(dot);
    }
  if (query)
    nodes.push(
      svg("circle", { cx: x(query[0]), cy: H - y(query[1]), r: 9, fill: "none", stroke: "currentColor", "stroke-width": 2.5 }),
    );
  $("svg", figure).replaceChildren(...nodes);
  $("#legend").textContent = query ? "; the ring is what you ask about" : "";
}

const stage = $("#ask .stage");
let lastLive = 0;
const tryPad = new Pad(stage, {
  hint: "Draw, drop or paste something",
  onStroke: () => {
    const now = performance.now();
    if (now - lastLive < 120) return;
    lastLive = now;
    askDrawing();
  },
  onDone: askDrawing,
  onEnter: askDrawing,
});
let live = null;
let timer = 0;

async function askDrawing() {
  if (tryPad.empty) return;
  state.asked = [await tryPad.file()];
  ask();
}

async function askFiles(files) {
  const good = files.filter(isImage);
  if (!good.length) {
    if (files.length) complain(new Error(`'${files[0].name}' is no image that can be asked about.`));
    return;
  }
  if (live) await toggleCamera();
  state.asked = good.slice(0, MOST_IMAGES);
  tryPad.clear();
  try {
    await tryPad.show(good[0]);
  } catch {
    // The browser cannot show it; the server may read it all the same, or says why not.
  }
  ask();
}

async function toggleCamera() {
  if (live) {
    live.stop(!tryPad.empty);
    live = null;
    clearInterval(timer);
  } else {
    live = await Camera.start(stage);
    timer = setInterval(async () => {
      const frame = asking ? null : await live?.file();
      if (frame) {
        state.asked = [frame];
        ask();
      }
    }, 300);
  }
  cameraButton.textContent = live ? "Stop" : "Camera";
}

const cameraButton = button("Camera", () => attempt(toggleCamera));
$("#ask .tools").append(
  button("Clear", () => {
    tryPad.clear();
    state.asked = [];
    showAnswer(null);
  }),
  button("Files…", async () => askFiles(await choose())),
  cameraButton,
);
takes($("#ask"), (found) => askFiles(found.map((one) => one.file)));

// On a phone the way to it is shown while it is out of sight.
new IntersectionObserver(([seen]) => ($(".jump").hidden = seen.isIntersecting)).observe($("#ask"));

// --- the whole

$("#add-class").addEventListener("click", () => {
  const card = new Card(freeName());
  card.element.scrollIntoView({ block: "nearest" });
  card.label.focus();
  card.label.select();
});

/** Images with their folders become classes of these names. */
function takeFolders(found) {
  const groups = new Map();
  for (const { file, folder } of found) {
    const name = folder ?? "dropped";
    groups.set(name, [...(groups.get(name) ?? []), file]);
  }
  // Boxes that nobody has touched make room.
  for (const card of [...state.cards])
    if (card.kept === null && !card.waiting.length && card.pad.empty && /^class \d+$/.test(card.name)) {
      state.cards.splice(state.cards.indexOf(card), 1);
      card.element.remove();
    }
  for (const [name, files] of groups)
    (state.cards.find((card) => card.name === name) ?? new Card(name)).take(files);
}

$("#add-folder").addEventListener("click", () => $("#folder").click());
$("#folder").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  takeFolders(files.map((file) => ({ file, folder: file.webkitRelativePath.split("/").at(-2) ?? null })));
});
takes(document.body, (found) => takeFolders(found));

$("#example").addEventListener("click", () =>
  inTurn(async () => {
    say("Forging the example…");
    const made = await api.digits();
    forget(0);
    show(made);
  }),
);

$("#new").addEventListener("click", () => inTurn(async () => forget()));
$("#name").addEventListener("change", () => state.made && save());
$("#save").addEventListener("click", () => save());

async function save() {
  const name = $("#name").value.trim() || "untitled";
  await change({ name });
  if (state.made?.name === name) say(`Saved as '${name}'. It is kept here; Open… brings it back.`);
}

$("#theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const theme = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("lgmnet-theme", theme);
});
const theme = localStorage.getItem("lgmnet-theme");
if (theme) document.documentElement.dataset.theme = theme;

// --- opening

let following = null;

async function listKept(after) {
  const page = await api.list(after);
  following = page.next;
  $("#kept-more").hidden = !following;
  const list = $("#kept");
  if (!after) list.replaceChildren();
  if (!after && !page.items.length) list.textContent = "Nothing is kept yet.";
  for (const one of page.items) {
    const line = document.createElement("li");
    const choice = button(one.name || "untitled", () =>
      inTurn(async () => {
        await openKept(one.id);
        $("#open-dialog").close();
      }),
    );
    const about = document.createElement("small");
    const classes = Object.keys(one.classes);
    const some = classes.slice(0, 6).join(", ") + (classes.length > 6 ? ", …" : "");
    about.textContent = `${some} · ${one.model} · ${new Date(1000 * one.changed).toLocaleString()}`;
    choice.append(about);
    const away = button("Delete", () =>
      attempt(async () => {
        if (!confirm(`Delete '${one.name}' for good?`)) return;
        await api.remove(one.id);
        line.remove();
        if (state.made?.id === one.id) forget();
      }),
    );
    line.append(choice, away);
    list.append(line);
  }
}

async function openKept(id) {
  const made = await api.get(id);
  forget(0);
  show(made);
}

$("#open").addEventListener("click", () =>
  attempt(async () => {
    await listKept();
    $("#open-dialog").showModal();
  }),
);
$("#kept-more").addEventListener("click", () => attempt(() => listKept(following)));
$("#open-file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  $("#open-dialog").close();
  if (!file) return;
  inTurn(async () => {
    const made = await api.openFile(file);
    forget(0);
    show(made);
  });
});

// --- taking it away

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

$("#downloads").addEventListener("click", () => $("#use-dialog").showModal());
for (const format of ["safetensors", "onnx"]) {
  const get = $(`#get-${format}`);
  get.addEventListener("click", () =>
    attempt(async () => {
      get.disabled = true;
      const words = get.textContent;
      get.textContent = "Making it…";
      try {
        download(await api.exported(state.made.id, format), `${state.made.name || "classifier"}.${format}`);
      } finally {
        get.disabled = false;
        get.textContent = words;
      }
    }),
  );
}
$("#copy-snippet").addEventListener("click", () =>
  attempt(async () => {
    const { lines } = await api.snippet(state.made.id, $("#language").value);
    const box = $("#snippet");
    box.hidden = false;
    box.value = lines;
    box.select();
    try {
      await navigator.clipboard.writeText(lines);
      $("#copy-snippet").textContent = "Copied";
      setTimeout(() => ($("#copy-snippet").textContent = "Copy the lines that run it"), 2000);
    } catch {
      complain(new Error("The browser does not let the page copy; the lines are marked in the box."));
    }
  }),
);
for (const close of document.querySelectorAll("[data-close]"))
  close.addEventListener("click", () => close.closest("dialog").close());

// --- at first

const remembered = location.hash.slice(1);
forget();
attempt(async () => {
  for (const model of await api.models()) {
    const option = document.createElement("option");
    option.value = model.name;
    option.textContent = `${model.name} (${model.kind})${model.available ? "" : ": not installed"}`;
    option.disabled = !model.available;
    option.title = model.missing_extra ?? "";
    $("#model").append(option);
  }
  if (/^[0-9a-f]{32}$/.test(remembered)) await openKept(remembered);
});
