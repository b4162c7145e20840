// Draws what is on the stage, at the size of the screen: the cost is that of the screen's pixels,
// however large the image.
const MOST_PIXELS = 3.2e6;

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.overlay = make("canvas");
    this.outline = make("canvas");
    this.ratio = 1;
    this.stale = true;
  }

  resize(width, height) {
    const wanted = Math.min(window.devicePixelRatio || 1, 2);
    this.ratio = Math.min(wanted, Math.sqrt(MOST_PIXELS / (width * height)));
    const onCanvas = (size) => Math.max(1, Math.round(size * this.ratio));
    const [across, down] = [onCanvas(width), onCanvas(height)];
    if (this.canvas.width === across && this.canvas.height === down) return;
    for (const canvas of [this.canvas, this.overlay, this.outline]) {
      Object.assign(canvas, { width: across, height: down });
    }
    this.pixels = this.overlay.getContext("2d").createImageData(across, down);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.codes = new Uint8Array(across * down);
    this.stale = true;
  }

  /** @param scene the photo, how strong the overlay is, and (read where stale) `layer`:
   *  the code of each pixel and what its codes look like; `region`: what is selected. */
  draw(view, { photo, opacity, layer, region }) {
    const frame = this.frame(view);
    if (this.stale) this.paint(frame, layer(), region);
    this.stale = false;
    const { context } = this;
    context.globalAlpha = 1;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const drawnWidth = view.imageWidth * frame.scale;
    const level = photo.level(drawnWidth);
    context.imageSmoothingEnabled = drawnWidth < 4 * level.width;
    context.drawImage(level, frame.x, frame.y, drawnWidth, view.imageHeight * frame.scale);
    context.globalAlpha = opacity;
    context.drawImage(this.overlay, 0, 0);
    context.globalAlpha = 1;
    if (region) context.drawImage(this.outline, 0, 0);
  }

  /** The view in pixels of the canvas, and the columns of the image that are on it. */
  frame(view) {
    const scale = view.scale * this.ratio;
    const [x, y] = [view.x * this.ratio, view.y * this.ratio];
    const { width, height } = this.canvas;
    const left = Math.max(0, Math.round(x));
    const right = Math.min(width, Math.round(x + view.imageWidth * scale));
    const top = Math.max(0, Math.round(y));
    const bottom = Math.min(height, Math.round(y + view.imageHeight * scale));
    const into = (at, size) => Math.min(size - 1, Math.max(0, Math.floor(at)));
    const columns = new Int32Array(Math.max(0, right - left));
    for (let k = 0; k < columns.length; k++) {
      columns[k] = into((left + k + 0.5 - x) / scale, view.imageWidth);
    }
    const row = (at) => into((at + 0.5 - y) / scale, view.imageHeight);
    return { scale, x, y, left, right, top, bottom, columns, row };
  }

  paint(frame, layer, region) {
    this.words.fill(0);
    const { width } = this.canvas;
    let former = -1;
    for (let y = frame.top; y < frame.bottom; y++) {
      const row = frame.row(y);
      const at = y * width + frame.left;
      if (row === former) this.codes.copyWithin(at, at - width, at - width + frame.columns.length);
      else layer.read(this.codes, at, row, frame);
      former = row;
    }
    if (layer.outlined) this.paintOutlines(frame, layer.table);
    else this.paintAreas(frame, layer.table);
    if (layer.hatched) this.paintHatching(frame);
    this.overlay.getContext("2d").putImageData(this.pixels, 0, 0);
    if (region) this.paintRegion(frame, region);
  }

  paintAreas({ left, right, top, bottom }, table) {
    const { width } = this.canvas;
    const { words, codes } = this;
    for (let y = top; y < bottom; y++) {
      for (let i = y * width + left; i < y * width + right; i++) words[i] = table[codes[i]];
    }
  }

  /** Both sides of each border, inside the classes, in lines as thick at every zoom. */
  paintOutlines({ left, right, top, bottom }, table) {
    const { width } = this.canvas;
    const { words, codes } = this;
    const thick = Math.max(1, Math.round(2 * this.ratio));
    for (let y = top; y < bottom; y++) {
      const up = (Math.max(top, y - thick) - y) * width;
      const down = (Math.min(bottom - 1, y + thick) - y) * width;
      for (let x = left; x < right; x++) {
        const i = y * width + x;
        const code = codes[i];
        const word = table[code];
        if (!word) continue;
        const before = Math.max(left, x - thick) - x;
        const after = Math.min(right - 1, x + thick) - x;
        if (
          codes[i + up] !== code ||
          codes[i + down] !== code ||
          codes[i + before] !== code ||
          codes[i + after] !== code
        ) {
          words[i] = word;
        }
      }
    }
  }

  /** Stripes where a pixel is left out: no colour of a class can be taken for them. */
  paintHatching({ left, right, top, bottom }) {
    const { width } = this.canvas;
    const { words, codes } = this;
    const step = Math.max(3, Math.round(4 * this.ratio));
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const i = y * width + x;
        if (codes[i] !== IGNORED) continue;
        words[i] = Math.floor((x + y) / step) % 2 ? 0xffffffff : 0xff505050;
      }
    }
  }

  /** A white line with a black one around it: seen on every photo. */
  paintRegion(frame, region) {
    const { width, height } = this.canvas;
    const context = this.outline.getContext("2d");
    const pixels = context.createImageData(width, height);
    const words = new Uint32Array(pixels.data.buffer);
    const inside = this.insideOf(frame, region);
    const thin = Math.max(1, Math.round(1.5 * this.ratio));
    this.paintRim(frame, inside, words, 2 * thin, 0xd0000000);
    this.paintRim(frame, inside, words, thin, 0xffffffff);
    context.putImageData(pixels, 0, 0);
  }

  /** Which pixels of the canvas are in a region. */
  insideOf({ columns, left, top, bottom, row }, region) {
    const { width, height } = this.canvas;
    const inside = new Uint8Array(width * height);
    for (let y = top; y < bottom; y++) {
      const imageRow = row(y);
      if (imageRow < region.top || imageRow > region.bottom) continue;
      const base = (imageRow - region.top) * region.across - region.left;
      for (let k = 0; k < columns.length; k++) {
        const column = columns[k];
        if (column < region.left || column > region.right) continue;
        inside[y * width + left + k] = region.inside[base + column];
      }
    }
    return inside;
  }

  /** Pixels around a region that are no farther from it than `reach`. */
  paintRim({ left, right, top, bottom }, inside, words, reach, color) {
    const { width } = this.canvas;
    for (let y = top; y < bottom; y++) {
      const up = (Math.max(top, y - reach) - y) * width;
      const down = (Math.min(bottom - 1, y + reach) - y) * width;
      for (let x = left; x < right; x++) {
        const i = y * width + x;
        if (inside[i]) continue;
        const before = Math.max(left, x - reach) - x;
        const after = Math.min(right - 1, x + reach) - x;
        const isNear =
          inside[i + up] || inside[i + down] || inside[i + before] || inside[i + after];
        if (isNear) words[i] = color;
      }
    }
  }
}
