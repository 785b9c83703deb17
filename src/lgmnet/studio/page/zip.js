// Reading of zips (APPNOTE 6.3.10) in the page, so that their images are sent like all others.
//
// Sizes are limited before and while a file is unpacked, because a small zip can claim or hold
// enormous files.

const MAX_FILES = 5000;
const MAX_FILE_BYTES = 20e6; // The server's limit for one image.
const MAX_TOTAL_BYTES = 1e9;
const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 65535;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const [STORED, DEFLATED] = [0, 8];
const ENCRYPTED = 1;

export const isZip = (file) => /\.zip$/i.test(file.name);

const readView = async (blob, start, end) => new DataView(await blob.slice(start, end).arrayBuffer());

/** Unpack the files of a zip whose names match, each with the parts of its path. */
export async function unzip(zip, pattern) {
  const fail = (reason) => new Error(`'${zip.name}' cannot be read as a zip: ${reason}.`);
  const entries = (await listEntries(zip, fail)).filter(({ name }) => pattern.test(name));
  if (!entries.length) throw new Error(`There are no images in '${zip.name}'.`);
  if (entries.length > MAX_FILES)
    throw new Error(`'${zip.name}' holds ${entries.length} images; at most ${MAX_FILES} are read.`);
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  if (total > MAX_TOTAL_BYTES)
    throw new Error(`'${zip.name}' would take ${(total / 1e9).toFixed(1)} GB; at most 1 GB is read.`);
  const files = [];
  for (const entry of entries) {
    const path = entry.name.split("/");
    const blob = await readEntry(zip, entry, fail);
    files.push({ file: new File([blob], path.at(-1)), path });
  }
  return files;
}

/** List the files in a zip, from the directory at its end. */
async function listEntries(zip, fail) {
  const start = Math.max(0, zip.size - END_BYTES - MAX_COMMENT_BYTES);
  const tail = await readView(zip, start, zip.size);
  let end = tail.byteLength - END_BYTES;
  while (end >= 0 && tail.getUint32(end, true) !== END_SIGNATURE) end--;
  if (end < 0) throw fail("its directory is missing, so it may be cut off");
  const nEntries = tail.getUint16(end + 10, true);
  const offset = tail.getUint32(end + 16, true);
  const view = await readView(zip, offset, offset + tail.getUint32(end + 12, true));
  const entries = [];
  for (let at = 0, i = 0; i < nEntries; i++) {
    if (at + ENTRY_BYTES > view.byteLength || view.getUint32(at, true) !== ENTRY_SIGNATURE)
      throw fail("its directory is damaged, or it is larger than 4 GB");
    const flags = view.getUint16(at + 8, true);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((place) =>
      view.getUint16(at + place, true),
    );
    if (at + ENTRY_BYTES + nameLength > view.byteLength) throw fail("its directory is cut off");
    entries.push({
      name: decodeName(new Uint8Array(view.buffer, at + ENTRY_BYTES, nameLength)),
      isEncrypted: Boolean(flags & ENCRYPTED),
      method: view.getUint16(at + 10, true),
      packedSize: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
    });
    at += ENTRY_BYTES + nameLength + extraLength + commentLength;
  }
  return entries;
}

/** Decode a name: UTF-8, which many programs write without saying so, or that of old Windows. */
function decodeName(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

async function readEntry(zip, { name, isEncrypted, method, packedSize, size, offset }, fail) {
  if (isEncrypted) throw fail("it needs a password");
  if (size > MAX_FILE_BYTES)
    throw fail(`'${name}' has ${(size / 1e6).toFixed(0)} MB; an image has at most 20 MB`);
  const header = await readView(zip, offset, offset + LOCAL_BYTES);
  if (header.byteLength < LOCAL_BYTES) throw fail(`'${name}' is cut off`);
  const start = offset + LOCAL_BYTES + header.getUint16(26, true) + header.getUint16(28, true);
  const packed = zip.slice(start, start + packedSize);
  if (method === STORED) return packed;
  if (method !== DEFLATED) throw fail(`'${name}' is packed by the unknown method ${method}`);
  const parts = [];
  let nBytes = 0;
  try {
    const reader = packed.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      nBytes += part.value.length;
      if (nBytes > size) break; // It holds more than it says: unpacking it could fill the memory.
    }
    if (nBytes > size) await reader.cancel();
  } catch {
    throw fail(`'${name}' is damaged`);
  }
  if (nBytes !== size) throw fail(`'${name}' has another size than it says`);
  return new Blob(parts);
}
