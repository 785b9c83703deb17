// Undo and redo. The server keeps the earlier versions of a classifier, also over a reload. This
// page remembers which step comes next, and the classes that are not on the server yet.

import * as api from "./api.js";
import { enqueue, reloadAfter } from "./changes.js";
import { $ } from "./dom.js";
import { showStatus } from "./messages.js";
import { getDrafts, openClassifier, reset, setClassifier, setDrafts, state } from "./state.js";

const MAX_STEPS = 200;
const DONE = /^(Undone|Redone)\. /;

// Each entry is the state before a change: `id` of the classifier and `drafts`, and what the change
// did: the number of `versions` that it made, and the id of a classifier that it `created` or
// `deleted`.
const stacks = { undo: [], redo: [] };
const isExhausted = { undo: false, redo: false }; // True if the server has no further version.

/** Return the present state, to be remembered once it has changed. */
export const capture = () => ({ id: state.classifier?.id ?? null, drafts: getDrafts() });

/** Remember the state before a change that has been made, unless nothing has changed. */
export function remember(before, { versions = 0, created = null, deleted = null } = {}) {
  const isSame =
    !versions && !created && !deleted && JSON.stringify(describe(before)) === JSON.stringify(describe(capture()));
  if (isSame) return;
  stacks.undo.push({ ...before, versions, created, deleted });
  if (stacks.undo.length > MAX_STEPS) stacks.undo.shift();
  stacks.redo = [];
  isExhausted.undo = false;
  isExhausted.redo = true;
  updateHistory();
}

const describe = ({ id, drafts }) => [id, drafts.map(({ name, waiting }) => [name, waiting.length])];

/** Forget all steps, because somebody else has changed the classifier in between. */
export function forgetHistory() {
  stacks.undo = [];
  stacks.redo = [];
  isExhausted.undo = isExhausted.redo = false;
  updateHistory();
}

export function updateHistory(classifier = state.classifier, previous = classifier) {
  if (classifier?.id !== previous?.id) isExhausted.undo = isExhausted.redo = false;
  for (const kind of ["undo", "redo"])
    $(`#${kind}`).disabled = !stacks[kind].length && (isExhausted[kind] || !classifier);
}

/** Undo the last change, or redo the one that was undone last. */
export function step(kind) {
  return enqueue(async () => {
    const entry = stacks[kind].pop() ?? { ...capture(), versions: 1, created: null, deleted: null };
    const now = capture();
    try {
      if (entry.created) await api.remove(entry.created);
      if (entry.deleted) await api.restore(entry.deleted);
      await goTo(entry, kind);
    } catch (error) {
      if (error.status === 422) isExhausted[kind] = true;
      await reloadAfter(error);
      updateHistory();
      if (error.status !== 422) throw error;
      showStatus(error.message);
      return;
    }
    const opposite = kind === "undo" ? "redo" : "undo";
    const { versions, created, deleted } = entry;
    stacks[opposite].push({ ...now, versions, created: deleted, deleted: created });
    isExhausted[opposite] = false;
    updateHistory();
    const text = $("#status").textContent.replace(DONE, "");
    showStatus(`${kind === "undo" ? "Undone" : "Redone"}. ${text}`);
  }, "history");
}

async function goTo({ id, drafts, versions }, kind) {
  if (id === null) reset(0);
  else if (id !== state.classifier?.id) openClassifier(await api.get(id));
  else
    for (let i = 0; i < versions; i++)
      setClassifier(await api.step(id, state.classifier.etag, kind));
  setDrafts(drafts);
}

const isText = (element) => element.matches("textarea, input:not([type=file]), [contenteditable]");

for (const kind of ["undo", "redo"]) $(`#${kind}`).addEventListener("click", () => step(kind));
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key)) return;
  if (event.defaultPrevented || isText(event.target)) return; // Text and drawings undo themselves.
  event.preventDefault();
  step(key === "y" || event.shiftKey ? "redo" : "undo");
});
