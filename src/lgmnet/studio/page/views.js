// On a phone: the classes or the panel to try them, one tap apart.

import { $ } from "./dom.js";

const positions = { classes: 0, try: 0 }; // Where each was scrolled to.

export function showView(name) {
  const { body } = document;
  if (body.dataset.view === name) return;
  positions[body.dataset.view] = window.scrollY;
  body.dataset.view = name;
  for (const button of document.querySelectorAll("#views button"))
    button.setAttribute("aria-pressed", String(button.dataset.view === name));
  window.scrollTo(0, positions[name]);
}

$("#views").addEventListener("click", (event) => {
  const { view } = event.target.dataset;
  if (view) showView(view);
});
