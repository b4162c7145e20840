// Files to arrays of class indices, and back.
const IGNORED = 255;
const EXACT = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

async function fetched(file) {
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error(`${file.url}: ${answer.status}`);
  return answer.blob();
}

/** A grey 8-bit PNG as {width, height, data}, exactly as it was written. */
async function readGrey(file) {
  const bitmap = await createImageBitmap(await fetched(file), EXACT);
  const { width, height } = bitmap;
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  const data = new Uint8Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) data[i] = pixels[i]; // Little-endian: the red byte.
  return { width, height, data };
}

/** The same map at another size, each pixel from its nearest. */
function resized(map, width, height) {
  if (map.width === width && map.height === height) return map;
  const data = new Uint8Array(width * height);
  const columns = Int32Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * map.width) / width));
  for (let y = 0; y < height; y++) {
    const base = Math.floor(((y + 0.5) * map.height) / height) * map.width;
    for (let x = 0; x < width; x++) data[y * width + x] = map.data[base + columns[x]];
  }
  return { width, height, data };
}

/** A photo and its halves, so that a large one is drawn fast and without flicker. */
class Photo {
  constructor(bitmap) {
    this.levels = [bitmap];
  }

  static async read(file) {
    return new Photo(await createImageBitmap(await fetched(file)));
  }

  async makeHalves() {
    for (let last = this.levels[0]; Math.max(last.width, last.height) > 1600; last = this.levels.at(-1)) {
      const size = { resizeWidth: Math.ceil(last.width / 2), resizeHeight: Math.ceil(last.height / 2) };
      this.levels.push(await createImageBitmap(last, { ...size, resizeQuality: "medium" }));
    }
  }

  /** The smallest level that still has a pixel for each one on the screen. */
  level(drawnWidth) {
    return this.levels.findLast((level) => level.width >= drawnWidth) || this.levels[0];
  }

  close() {
    for (const level of this.levels) level.close();
  }
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function pngChunk(type, body) {
  const chunk = new Uint8Array(12 + body.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length);
  chunk.set([...type].map((letter) => letter.charCodeAt(0)), 4);
  chunk.set(body, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < 8 + body.length; i++) crc = CRC[(crc ^ chunk[i]) & 255] ^ (crc >>> 8);
  view.setUint32(8 + body.length, ~crc >>> 0);
  return chunk;
}

/** Class indices as an 8-bit grey PNG; a canvas could only write colours. */
async function writeGrey(width, height, data) {
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const body = new Uint8Array(await new Response(packed).arrayBuffer());
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8; // Bits of each pixel; the zeros after it: grey, deflate, filters, not interlaced.
  const mark = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const parts = [mark, pngChunk("IHDR", header), pngChunk("IDAT", body), pngChunk("IEND", new Uint8Array(0))];
  return new Blob(parts, { type: "image/png" });
}
