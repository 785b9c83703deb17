// Errors and the status line. An error has a topic, and goes when that is dealt with again.

import { $, makeButton, makeElement } from "./dom.js";

const MAX_ERRORS = 4;

const topics = new WeakMap(); // Topic of each message: a text, or the card of a class.

export const showStatus = (text) => ($("#status").textContent = text);

export function showError(error, topic = "other") {
  const textContent = error.message ?? String(error);
  const alerts = $("#alerts");
  for (const line of [...alerts.children])
    if (line.firstChild.textContent === textContent) line.remove(); // It is not shown twice.
  const close = makeButton("✕", () => line.remove());
  close.setAttribute("aria-label", "Close this message");
  const line = makeElement("p", {}, makeElement("span", { textContent }), close);
  topics.set(line, error.topic ?? topic);
  alerts.append(line);
  while (alerts.children.length > MAX_ERRORS) alerts.firstChild.remove();
}

/** Remove the errors of a topic, because their cause is gone; without one, all errors. */
export function clearErrors(topic) {
  for (const line of [...$("#alerts").children])
    if (topic === undefined || topics.get(line) === topic) line.remove();
}

/** Run an action, and show its error if it fails. Earlier errors of the topic go. */
export async function reportErrors(action, topic = "other") {
  clearErrors(topic);
  try {
    return await action();
  } catch (error) {
    showError(error, topic);
    return undefined;
  }
}
