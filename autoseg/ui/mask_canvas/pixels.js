// Files to arrays of class indices, and back.
const IGNORED = 255;
const EXACT = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** The server's answer that brings a file. */
async function fetched(file) {
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error(`${file.url}: ${answer.status}`);
  return answer;
}

const fetchedBytes = async (file) => (await fetched(file)).arrayBuffer();

/** A grey 8-bit PNG as {width, height, data}, exactly as it was written. */
const readGrey = async (file) => greyOf(await fetchedBytes(file));

const greyOf = async (bytes) => (await unpackedGrey(bytes)) || readByCanvas(new Blob([bytes]));

/** Other kinds of files, by a canvas; not in browsers that change what is read from one. */
async function readByCanvas(blob) {
  const bitmap = await createImageBitmap(blob, EXACT);
  const { width, height } = bitmap;
  const context = readableContext(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  const data = new Uint8Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) data[i] = pixels[i]; // Little-endian: the red byte.
  // A canvas that is too large for the browser stays empty.
  const opaque = (word) => word >>> 24 === 255;
  if (!opaque(pixels[0]) || !opaque(pixels.at(-1)) || !readsBackExactly()) {
    throw new Error("This browser does not give back the pixels of a picture.");
  }
  return { width, height, data };
}

function readableContext(width, height) {
  return make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
}

function readsBackExactly() {
  const context = readableContext(16, 16);
  const bytes = Uint8ClampedArray.from({ length: 1024 }, (_, i) => (i % 4 === 3 ? 255 : i >> 2));
  const given = new ImageData(bytes, 16, 16);
  context.putImageData(given, 0, 0);
  return sameBytes(context.getImageData(0, 0, 16, 16).data, given.data);
}

function sameBytes(one, two) {
  for (let i = 0; i < one.length; i++) if (one[i] !== two[i]) return false;
  return true;
}

/** The same map at another size, each pixel from its nearest. */
function resized(map, width, height) {
  if (map.width === width && map.height === height) return map;
  const data = new Uint8Array(width * height);
  const column = (_, x) => Math.floor(((x + 0.5) * map.width) / width);
  const columns = Int32Array.from({ length: width }, column);
  for (let y = 0; y < height; y++) {
    const base = Math.floor(((y + 0.5) * map.height) / height) * map.width;
    for (let x = 0; x < width; x++) data[y * width + x] = map.data[base + columns[x]];
  }
  return { width, height, data };
}

/** A photo has halves down to one of this many pixels, the long side. */
const LARGEST_LEVEL = 1600;

/** A photo and its halves, so that a large one is drawn fast and without flicker. */
class Photo {
  constructor(bitmap) {
    this.levels = [bitmap];
  }

  static async read(file) {
    return new Photo(await createImageBitmap(await (await fetched(file)).blob()));
  }

  async makeHalves() {
    let last = this.levels[0];
    while (Math.max(last.width, last.height) > LARGEST_LEVEL) {
      last = await createImageBitmap(last, {
        resizeWidth: Math.ceil(last.width / 2),
        resizeHeight: Math.ceil(last.height / 2),
        resizeQuality: "medium",
      });
      this.levels.push(last);
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
