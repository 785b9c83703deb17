// The service, as the page speaks with it. Whatever goes wrong comes as an Error with a sentence.

export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

let token = sessionStorage.getItem("lgmnet-token") ?? "";

async function askForToken() {
  const dialog = document.querySelector("#token-dialog");
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  token = document.querySelector("#token").value;
  sessionStorage.setItem("lgmnet-token", token);
}

async function send(method, path, { form, etag } = {}) {
  for (;;) {
    const headers = {};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (etag) headers["If-Match"] = `"${etag}"`;
    let response;
    try {
      response = await fetch(path, { method, body: form, headers });
    } catch {
      throw new Refused(0, "The server does not answer. Is lgmnet studio still running?");
    }
    if (response.ok) return response;
    if (response.status === 401) {
      await askForToken();
      continue;
    }
    let sentence = `The server answered ${response.status}.`;
    try {
      sentence = (await response.json()).detail ?? sentence;
    } catch {
      // Not from the service itself; the number has to do.
    }
    throw new Refused(response.status, sentence);
  }
}

const json = async (...words) => (await send(...words)).json();

export const models = () => json("GET", "/v1/models");
export const digits = () => json("POST", "/v1/examples/digits");
export const list = (after) =>
  json("GET", `/v1/classifiers?limit=20${after ? `&after=${encodeURIComponent(after)}` : ""}`);
export const get = (id) => json("GET", `/v1/classifiers/${id}`);
export const remove = (id) => send("DELETE", `/v1/classifiers/${id}`);
export const snippet = (id, language) =>
  json("GET", `/v1/classifiers/${id}/snippet?language=${language}`);
export const picture = async (id, place) =>
  (await send("GET", `/v1/classifiers/${id}/images/${place}`)).blob();
export const exported = async (id, format) =>
  (await send("GET", `/v1/classifiers/${id}/export?format=${format}`)).blob();

/** A form of images with their labels, and of whatever else there is to say. */
function formOf({ images = [], ...fields }) {
  const form = new FormData();
  for (const [name, values] of Object.entries(fields))
    for (const value of [values].flat()) form.append(name, value);
  for (const { file, label } of images) {
    form.append("images", file, file.name || "image.png");
    if (label !== undefined) form.append("labels", label);
  }
  return form;
}

export const forge = (fields) => json("POST", "/v1/classifiers", { form: formOf(fields) });
export const openFile = (file) => {
  const form = new FormData();
  form.append("file", file, file.name);
  return json("POST", "/v1/classifiers", { form });
};
export const edit = (id, etag, fields) =>
  json("PATCH", `/v1/classifiers/${id}`, { form: formOf(fields), etag });
export const predict = (id, files) =>
  json("POST", `/v1/classifiers/${id}/predict`, {
    form: formOf({ images: files.map((file) => ({ file })) }),
  });
