// What can be counted in a mask, in slices so short that nobody feels them.
const SLICE_MS = 8;

/** Pixels of each class, mean confidence in it, and its intersection over union with `other`. */
class Counting {
  constructor({ width, height, mask, model, confidence, other, names }) {
    Object.assign(this, { width, height, mask, model, confidence, other });
    this.twoClasses = names.length === 2;
    this.row = 0; // Of the image, and then of the confidence map.
    this.areas = new Uint32Array(256);
    this.both = new Uint32Array(256);
    this.mine = new Uint32Array(256);
    this.theirs = new Uint32Array(256);
    this.sums = new Float64Array(256);
    this.cells = new Uint32Array(256);
  }

  /** Count on for some milliseconds; whether all is counted. */
  go(ms) {
    const end = performance.now() + ms;
    const rows = this.height + (this.confidence ? this.confidence.height : 0);
    for (; this.row < rows; this.row++) {
      if (performance.now() > end) return false;
      if (this.row >= this.height) this.countConfidence(this.row - this.height);
      else if (this.other) this.countBoth(this.row);
      else this.countAreas(this.row);
    }
    return true;
  }

  countAreas(y) {
    const { mask, areas, width } = this;
    for (let i = y * width; i < (y + 1) * width; i++) areas[mask[i]]++;
  }

  /** Areas, and agreement with the other mask; ignored pixels count nowhere in the latter. */
  countBoth(y) {
    const { mask, other, areas, both, mine, theirs, width } = this;
    for (let i = y * width; i < (y + 1) * width; i++) {
      const a = mask[i];
      const b = other[i];
      areas[a]++;
      if (a === IGNORED || b === IGNORED) continue;
      mine[a]++;
      theirs[b]++;
      if (a === b) both[a]++;
    }
  }

  /** What the model gives a class that is not its own choice is known where there are two. */
  countConfidence(y) {
    const { mask, model, confidence, sums, cells, width, height, twoClasses } = this;
    const across = width / confidence.width;
    const base = Math.floor(((y + 0.5) * height) / confidence.height) * width;
    for (let x = 0; x < confidence.width; x++) {
      const i = base + Math.floor((x + 0.5) * across);
      const value = confidence.data[y * confidence.width + x];
      if (mask[i] !== model[i] && !twoClasses) continue;
      sums[mask[i]] += mask[i] === model[i] ? value : 255 - value;
      cells[mask[i]]++;
    }
  }

  get result() {
    const { areas, mask, confidence, other, sums, cells } = this;
    const mean = (sum, index) => (cells[index] ? sum / cells[index] / 255 : null);
    return {
      areas,
      total: mask.length,
      confidences: confidence && Array.from(sums, mean),
      agreement: other && this.agreement(),
    };
  }

  agreement() {
    const { both, mine, theirs } = this;
    const sum = (counts) => counts.reduce((total, pixels) => total + pixels, 0);
    const iou = Array.from(both, (pixels, index) => {
      const union = mine[index] + theirs[index] - pixels;
      return union ? pixels / union : null;
    });
    const compared = sum(mine);
    return { iou, theirs, compared, different: compared - sum(both) };
  }
}

/** Counts the mask as it stands again and again, always in slices. */
class Recount {
  constructor(app) {
    this.app = app;
    this.timer = 0;
  }

  soon(wait = 200) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.start(), wait);
  }

  stop() {
    clearTimeout(this.timer);
  }

  /** A stroke puts it off, and asks again when it ends. */
  start() {
    const { app } = this;
    const { data } = app;
    if (!data || app.tools.from) return;
    const mask = app.reading.mask();
    const counting = new Counting({ ...data, other: data.other?.data, mask });
    const slice = () => {
      if (app.tools.from) return;
      if (counting.go(SLICE_MS)) app.update({ statistics: counting.result });
      else this.timer = setTimeout(slice);
    };
    slice();
  }
}
