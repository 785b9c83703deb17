// Client of the HTTP API. Every failure is an Error with a message for the user.

import { $ } from "./dom.js";
import { clearErrors } from "./messages.js";

const TOKEN_KEY = "lgmnet-token";
const CONNECTION = "connection";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0 if the server cannot be reached.
    if (!status) this.topic = CONNECTION; // The error goes when the server is there again.
  }
}

let token = sessionStorage.getItem(TOKEN_KEY) ?? "";

async function requestToken() {
  const dialog = $("#token-dialog");
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  token = $("#token").value;
  sessionStorage.setItem(TOKEN_KEY, token);
}

async function send(method, path, { form, etag, signal } = {}) {
  for (;;) {
    const headers = {};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (etag) headers["If-Match"] = `"${etag}"`;
    let response;
    try {
      response = await fetch(path, { method, body: form, headers, signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "The server cannot be reached. Is lgmnet studio still running?");
    }
    clearErrors(CONNECTION);
    if (response.ok) return response;
    if (response.status === 401) {
      await requestToken();
      continue;
    }
    let message = `The server returned status ${response.status}.`;
    try {
      message = (await response.json()).detail ?? message;
    } catch {
      // The response is not JSON, so it does not come from the service itself.
    }
    throw new ApiError(response.status, message);
  }
}

const sendForJson = async (...args) => (await send(...args)).json();
const sendForBlob = async (...args) => (await send(...args)).blob();

/** Make a form of labelled images and other fields; a field may have several values. */
function makeForm({ images = [], ...fields }) {
  const form = new FormData();
  for (const [name, values] of Object.entries(fields))
    for (const value of [values].flat()) form.append(name, value);
  for (const { file, label } of images) {
    form.append("images", file, file.name || "image.png");
    if (label !== undefined) form.append("labels", label);
  }
  return form;
}

export const models = () => sendForJson("GET", "/v1/models");
export const list = (after) =>
  sendForJson("GET", `/v1/classifiers?limit=20${after ? `&after=${encodeURIComponent(after)}` : ""}`);
export const get = (id) => sendForJson("GET", `/v1/classifiers/${id}`);
export const remove = (id) => send("DELETE", `/v1/classifiers/${id}`);
export const restore = (id) => sendForJson("POST", `/v1/classifiers/${id}/restore`);
/** Undo or redo one change. */
export const step = (id, etag, kind) =>
  sendForJson("POST", `/v1/classifiers/${id}/${kind}`, { etag });
export const fit = (fields) => sendForJson("POST", "/v1/classifiers", { form: makeForm(fields) });
export const fitDigits = () => sendForJson("POST", "/v1/examples/digits");
export const openFile = (file) => fit({ file });
export const edit = (id, etag, fields) =>
  sendForJson("PATCH", `/v1/classifiers/${id}`, { form: makeForm(fields), etag });
export const predict = (id, files) =>
  sendForJson("POST", `/v1/classifiers/${id}/predict`, {
    form: makeForm({ images: files.map((file) => ({ file })) }),
  });
export const thumbnail = (id, place) =>
  sendForBlob("GET", `/v1/classifiers/${id}/images/${place}`);
export const estimate = (id, signal) =>
  sendForJson("GET", `/v1/classifiers/${id}/estimate`, { signal });
export const exportFile = (id, format) =>
  sendForBlob("GET", `/v1/classifiers/${id}/export?format=${format}`);
export const snippet = (id, language) =>
  sendForJson("GET", `/v1/classifiers/${id}/snippet?language=${language}`);
