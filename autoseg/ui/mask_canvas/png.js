// Class indices as 8-bit grey PNGs, read and written without a canvas: a canvas writes colours
// only, and browsers that guard against fingerprints change what is read from one.
// Source: PNG specification (W3C, third edition), sections 5, 9 and 11.
const PNG_MARK = [137, 80, 78, 71, 13, 10, 26, 10];

/** {width, height, data}, or null where it is another kind of file or the browser cannot unpack. */
async function unpackedGrey(buffer) {
  const [bytes, view] = [new Uint8Array(buffer), new DataView(buffer)];
  const isPng = PNG_MARK.every((byte, i) => bytes[i] === byte);
  if (!globalThis.DecompressionStream || !isPng) return null;
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [depth, color, , , interlaced] = bytes.subarray(24, 29);
  if (depth !== 8 || color !== 0 || interlaced) return null;
  const packed = [];
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const isData = String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === "IDAT";
    if (isData) packed.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  const rows = await throughStream(new DecompressionStream("deflate"), packed);
  if (rows.length !== (width + 1) * height) {
    throw new Error("The PNG holds fewer rows than it says.");
  }
  return { width, height, data: unfiltered(rows, width, height) };
}

/** What comes out of a stream that all parts were put into. */
async function throughStream(stream, parts) {
  const result = new Response(stream.readable).arrayBuffer();
  const writer = stream.writable.getWriter();
  const written = parts.map((part) => writer.write(part));
  await Promise.all([...written, writer.close(), result]);
  return new Uint8Array(await result);
}

/** Rows as they were before each was written as differences, by the filter in its first byte. */
function unfiltered(rows, width, height) {
  const data = new Uint8Array(width * height);
  let above = new Uint8Array(width);
  for (let y = 0; y < height; y++) {
    const from = y * (width + 1);
    const row = data.subarray(y * width, (y + 1) * width);
    row.set(rows.subarray(from + 1, from + 1 + width));
    UNFILTER[rows[from]](row, above);
    above = row;
  }
  return data;
}

/** In the order of their numbers: none, sub, up, average, Paeth. */
const UNFILTER = [
  () => {},
  (row) => {
    for (let x = 1; x < row.length; x++) row[x] += row[x - 1];
  },
  (row, above) => {
    for (let x = 0; x < row.length; x++) row[x] += above[x];
  },
  (row, above) => {
    row[0] += above[0] >> 1;
    for (let x = 1; x < row.length; x++) row[x] += (row[x - 1] + above[x]) >> 1;
  },
  (row, above) => {
    row[0] += above[0];
    for (let x = 1; x < row.length; x++) {
      const left = row[x - 1];
      const up = above[x];
      const corner = above[x - 1];
      const toLeft = Math.abs(up - corner);
      const toUp = Math.abs(left - corner);
      const toCorner = Math.abs(left + up - 2 * corner);
      row[x] += toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
    }
  },
];

function pngChunk(type, body) {
  const chunk = new Uint8Array(12 + body.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length);
  chunk.set(new TextEncoder().encode(type), 4);
  chunk.set(body, 8);
  const crc = addToCrc(CRC_START, chunk.subarray(4, 8 + body.length));
  view.setUint32(8 + body.length, endOfCrc(crc));
  return chunk;
}

async function writeGrey(width, height, data) {
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) {
    rows.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const body = await throughStream(new CompressionStream("deflate"), [rows]);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8; // Bits of each pixel; the zeros after it: grey, deflate, filters, not interlaced.
  const parts = [
    new Uint8Array(PNG_MARK),
    pngChunk("IHDR", header),
    pngChunk("IDAT", body),
    pngChunk("IEND", new Uint8Array(0)),
  ];
  return new Blob(parts, { type: "image/png" });
}
