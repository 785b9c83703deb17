// Image files that are dropped, pasted or chosen, also in folders and in zips.

import { makeElement } from "./dom.js";
import { reportErrors } from "./messages.js";
import { isZip, unzip } from "./zip.js";

const MAX_IMAGE_BYTES = 20e6; // The server's limit for one image.
const MAX_NAMED = 5; // Names of files that a message gives.
const IMAGE_NAME =
  /\.(a?png|jpe?g|jpe|jfif|mpo|webp|gif|bmp|dib|tiff?|p[bgnp]m|pfm|hei[cf]|hif|avifs?|jp[2cfx]|j2[ck])$/i;
const HIDDEN_NAME = /^(\.|__MACOSX$|Thumbs\.db$|desktop\.ini$)/i; // Made by systems, not by users.
const IMAGES_AND_ZIPS = "image/*,.heic,.heif,.hif,.zip";

export const isImage = (file) => file.type.startsWith("image/") || IMAGE_NAME.test(file.name);

/** Divide files into images, and one sentence about each kind of others. */
export function sortFiles(files) {
  const images = [];
  const others = [];
  const problems = [];
  for (const file of files) {
    if (!isImage(file)) others.push(`'${file.name}'`);
    else if (file.size > MAX_IMAGE_BYTES)
      problems.push(
        `'${file.name}' has ${(file.size / 1e6).toFixed(0)} MB; an image has at most 20 MB.`,
      );
    else images.push(file);
  }
  if (others.length) {
    const more = others.length > MAX_NAMED ? ` and ${others.length - MAX_NAMED} more` : "";
    const verb = others.length > 1 ? "are not images" : "is not an image";
    problems.push(`${others.slice(0, MAX_NAMED).join(", ")}${more} ${verb}.`);
  }
  return { images, problems };
}

/** Return files with the names of their folders, from a list that a folder input gives. */
export const folderFiles = (files) =>
  files
    .map((file) => ({ file, parts: (file.webkitRelativePath || file.name).split("/") }))
    .filter(({ parts }) => !parts.some((part) => HIDDEN_NAME.test(part)))
    .map(({ file, parts }) => ({ file, folder: parts.at(-2) ?? null }));

/** Replace zips by the files inside. */
async function unpack(files) {
  const unpacked = [];
  for (const { file, folder } of files) {
    if (!isZip(file)) {
      unpacked.push({ file, folder });
      continue;
    }
    const outer = folder ?? file.name.replace(/\.zip$/i, "");
    for (const { file: inner, path } of await unzip(file, IMAGE_NAME)) {
      if (path.some((part) => HIDDEN_NAME.test(part))) continue;
      unpacked.push({ file: inner, folder: path.at(-2) ?? outer });
    }
  }
  return unpacked;
}

/** Return all files of a drop, also those in folders, each with the name of its folder. */
async function filesFromDrop(entries, plainFiles) {
  if (!entries.length) return plainFiles.map((file) => ({ file, folder: null }));
  const files = [];
  const walk = async (entry, folder) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      files.push({ file, folder });
      return;
    }
    const reader = entry.createReader(); // It gives the entries in several parts.
    for (;;) {
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) return;
      for (const child of part)
        if (!HIDDEN_NAME.test(child.name)) await walk(child, entry.name);
    }
  };
  for (const entry of entries) await walk(entry, null);
  return files;
}

/**
 * Let the user drop and paste images on an element. `onOther` takes a drop that is no file, and
 * returns false if it does not.
 */
export function acceptImages(element, onImages, onOther = () => false) {
  const stop = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  element.addEventListener("dragover", (event) => {
    stop(event);
    element.classList.add("drop-target");
  });
  element.addEventListener("dragleave", () => element.classList.remove("drop-target"));
  element.addEventListener("drop", (event) => {
    stop(event);
    element.classList.remove("drop-target");
    if (onOther()) return;
    const { items, files } = event.dataTransfer; // They are gone after this event.
    const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plainFiles = [...files];
    reportErrors(
      async () => onImages(await unpack(await filesFromDrop(entries, plainFiles))),
      "upload",
    );
  });
  element.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    stop(event);
    onImages(files.map((file) => ({ file, folder: null })));
  });
}

/** Let the user choose image files or zips; with folders, the folder of each is returned too. */
export async function chooseFiles(accept = IMAGES_AND_ZIPS, withFolders = false) {
  const chosen = await new Promise((resolve) => {
    const input = makeElement("input", { type: "file", multiple: true, accept });
    input.addEventListener("change", () => resolve([...input.files]));
    input.addEventListener("cancel", () => resolve([]));
    input.click();
  });
  const files = await reportErrors(
    () => unpack(chosen.map((file) => ({ file, folder: null }))),
    "upload",
  );
  return withFolders ? (files ?? []) : (files ?? []).map(({ file }) => file);
}
