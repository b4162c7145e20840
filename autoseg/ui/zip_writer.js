// Files -> one zip, stored and not compressed, since images hardly get smaller.
// Source: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16.

const MAX_ZIP_BYTES = 2 ** 32 - 2 ** 24; // Beyond lies Zip64.
const MAX_ZIP_FILES = 65000;

/** CRC-32 of a file, read in pieces so that a large one needs no memory. */
async function crcOf(file) {
  let crc = CRC_START;
  const reader = file.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return endOfCrc(crc);
    crc = addToCrc(crc, value);
  }
}

/** Numbers in the byte order of zips: pairs of (bytes, value). */
function packed(...fields) {
  const length = fields.reduce((sum, [size]) => sum + size, 0);
  const view = new DataView(new ArrayBuffer(length));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return view.buffer;
}

/** What both headers of a file say: version 2.0, names in UTF-8, stored, 1 January 1980. */
function described(crc, size, nameLength) {
  return [[2, 20], [2, 0x0800], [2, 0], [2, 0], [2, 0x21], [4, crc], [4, size], [4, size],
    [2, nameLength], [2, 0]];
}

/** [{name, file}] -> Blob; `onFile(done, all)` after each; `signal` ends it. */
async function zipOf(entries, onFile, signal) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [place, { name, file }] of entries.entries()) {
    signal.throwIfAborted();
    const bytes = new TextEncoder().encode(name);
    const facts = described(await crcOf(file), file.size, bytes.length);
    parts.push(packed([4, 0x04034b50], ...facts), bytes, file);
    const more = [[2, 0], [2, 0], [2, 0], [4, 0], [4, offset]];
    directory.push(packed([4, 0x02014b50], [2, 20], ...facts, ...more), bytes);
    offset += 30 + bytes.length + file.size;
    onFile(place + 1, entries.length);
  }
  const size = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const count = entries.length;
  const end = packed(
    [4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0],
  );
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
