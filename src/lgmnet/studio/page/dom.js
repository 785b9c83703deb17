// Helpers to find and make elements.

export const $ = (selector, root = document) => root.querySelector(selector);

export function makeElement(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function makeButton(textContent, onClick, title = "") {
  const button = makeElement("button", { type: "button", textContent, title });
  button.addEventListener("click", onClick);
  return button;
}

export function makeSvg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
