// Errors and the status line.

import { $, makeButton, makeElement } from "./dom.js";

const MAX_ERRORS = 4;

export const showStatus = (text) => ($("#status").textContent = text);

export function showError(error) {
  const text = makeElement("span", { textContent: error.message ?? String(error) });
  const close = makeButton("✕", () => line.remove());
  close.setAttribute("aria-label", "Close this message");
  const line = makeElement("p", {}, text, close);
  const alerts = $("#alerts");
  alerts.append(line);
  while (alerts.children.length > MAX_ERRORS) alerts.firstChild.remove();
}

/** Run an action, and show its error if it fails. */
export async function reportErrors(action) {
  try {
    return await action();
  } catch (error) {
    showError(error);
    return undefined;
  }
}
