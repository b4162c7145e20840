// A mask being corrected: shapes that set pixels, and steps that can be taken back.
const TILE = 256;
const MOST_STEP_BYTES = MOST_DRAFT_BYTES / 5;

class Correction {
  /** @param start what the eraser brings back; @param model what "changed" is counted against. */
  constructor(width, height, start, model) {
    Object.assign(this, { width, height, start, model, mask: start.slice(), past: [], future: [] });
    this.tilesAcross = Math.ceil(width / TILE);
    this.open = null; // Tiles of the step being made, as they were before it.
    this.saved = true; // The server keeps it as it stands, or nothing was drawn.
    this.edits = 0;
    this.changed = this.countChanged();
  }

  countChanged() {
    let changed = 0;
    for (let i = 0; i < this.mask.length; i++) changed += this.mask[i] !== this.model[i];
    return changed;
  }

  box(tile) {
    const left = (tile % this.tilesAcross) * TILE;
    const top = Math.floor(tile / this.tilesAcross) * TILE;
    const right = Math.min(this.width, left + TILE);
    const bottom = Math.min(this.height, top + TILE);
    return { left, top, right, bottom };
  }

  readTile(tile) {
    const { left, top, right, bottom } = this.box(tile);
    const across = right - left;
    const copy = new Uint8Array(across * (bottom - top));
    for (let y = top; y < bottom; y++) {
      const base = y * this.width;
      copy.set(this.mask.subarray(base + left, base + right), (y - top) * across);
    }
    return copy;
  }

  writeTile(tile, copy) {
    const { left, top, right, bottom } = this.box(tile);
    const { mask, model, width } = this;
    let changed = 0;
    for (let y = top, from = 0; y < bottom; y++) {
      for (let i = y * width + left; i < y * width + right; i++, from++) {
        const wanted = copy[from];
        if (wanted === mask[i]) continue;
        changed += (wanted !== model[i]) - (mask[i] !== model[i]);
        mask[i] = wanted;
      }
    }
    this.changed += changed;
  }

  /** Whether a tile is as a copy of it says. */
  isTile(tile, copy) {
    const { left, top, right, bottom } = this.box(tile);
    for (let y = top, from = 0; y < bottom; y++) {
      for (let i = y * this.width + left; i < y * this.width + right; i++, from++) {
        if (copy[from] !== this.mask[i]) return false;
      }
    }
    return true;
  }

  /** Set the pixels from one column to before another in a row; null brings the start back. */
  setRow(y, from, to, index) {
    from = Math.max(0, from);
    to = Math.min(this.width, to);
    if (y < 0 || y >= this.height || from >= to) return;
    const row = Math.floor(y / TILE) * this.tilesAcross;
    for (let column = Math.floor(from / TILE); column <= Math.floor((to - 1) / TILE); column++) {
      if (!this.open.has(row + column)) this.open.set(row + column, this.readTile(row + column));
    }
    const base = y * this.width;
    const { mask, model, start } = this;
    let changed = 0;
    for (let i = base + from; i < base + to; i++) {
      const wanted = index === null ? start[i] : index;
      changed += (wanted !== model[i]) - (mask[i] !== model[i]);
      mask[i] = wanted;
    }
    this.changed += changed;
  }

  begin() {
    this.open = new Map();
  }

  /** Close the step; one that changed nothing is none. */
  end() {
    const step = new Map([...this.open].filter(([tile, copy]) => !this.isTile(tile, copy)));
    this.open = null;
    if (!step.size) return;
    this.past.push(step);
    this.future = [];
    this.edited();
    let bytes = 0;
    const tooOld = this.past.findLastIndex((kept) => (bytes += stepBytes(kept)) > MOST_STEP_BYTES);
    if (tooOld > 0) this.past.splice(0, tooOld);
  }

  cancel() {
    for (const [tile, copy] of this.open) this.writeTile(tile, copy);
    this.open = null;
  }

  undo() {
    this.swap(this.past, this.future);
  }

  redo() {
    this.swap(this.future, this.past);
  }

  swap(from, to) {
    const step = from.pop();
    if (!step) return;
    const now = new Map([...step.keys()].map((tile) => [tile, this.readTile(tile)]));
    for (const [tile, copy] of step) this.writeTile(tile, copy);
    to.push(now);
    this.edited();
  }

  edited() {
    this.saved = false;
    this.edits += 1;
  }

  /** Memory that it takes beside the model's own mask. */
  get bytes() {
    const steps = [...this.past, ...this.future].reduce((sum, step) => sum + stepBytes(step), 0);
    return 2 * this.mask.length + steps;
  }

  forgetSteps() {
    [this.past, this.future] = [[], []];
  }

  /** A stroke of a round brush from the middle of one pixel to that of another. */
  stroke(from, to, diameter, index) {
    const radius = diameter / 2;
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const long = Math.hypot(dx, dy);
    const top = Math.floor(Math.min(from.y, to.y) - radius);
    const bottom = Math.ceil(Math.max(from.y, to.y) + radius);
    for (let y = top; y <= bottom; y++) {
      let [low, high] = [Infinity, -Infinity];
      const reach = (x) => ([low, high] = [Math.min(low, x), Math.max(high, x)]);
      for (const end of [from, to]) {
        const half = radius * radius - (y - end.y) ** 2;
        if (half >= 0) [end.x - Math.sqrt(half), end.x + Math.sqrt(half)].forEach(reach);
      }
      if (long) sidesOf(from, { x: dx / long, y: dy / long }, long, radius, y).forEach(reach);
      if (low <= high) this.setRow(y, Math.ceil(low - 1e-9), Math.floor(high + 1e-9) + 1, index);
    }
  }

  /** The inside of a polygon; a pixel is in it where its middle is. */
  polygon(points, index) {
    const rows = points.map((point) => point.y);
    const top = Math.max(0, Math.floor(Math.min(...rows)));
    const bottom = Math.min(this.height - 1, Math.ceil(Math.max(...rows)));
    for (let y = top; y <= bottom; y++) {
      const crossings = crossingsAt(points, y + 0.5);
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        this.setRow(y, Math.ceil(crossings[k] - 0.5), Math.ceil(crossings[k + 1] - 0.5), index);
      }
    }
  }

  /** The connected region around a pixel. */
  fill(x, y, index) {
    const region = connectedRegion(this.mask, this.width, this.height, x, y);
    for (let row = region.top; row <= region.bottom; row++) {
      const base = (row - region.top) * region.across;
      for (let k = 0; k < region.across; k++) {
        if (!region.inside[base + k]) continue;
        const from = k;
        while (k < region.across && region.inside[base + k]) k++;
        this.setRow(row, region.left + from, region.left + k, index);
      }
    }
  }
}

/** Where the long sides of a stroke cross a row. */
function sidesOf(from, along, long, radius, y) {
  const found = [];
  for (const side of [-radius, radius]) {
    const corner = { x: from.x - along.y * side, y: from.y + along.x * side };
    const share = along.y ? (y - corner.y) / (along.y * long) : NaN;
    if (share >= 0 && share <= 1) found.push(corner.x + share * along.x * long);
  }
  return found;
}

function crossingsAt(points, y) {
  const found = [];
  points.forEach((one, k) => {
    const two = points[(k + 1) % points.length];
    if (one.y <= y === two.y <= y) return;
    found.push(one.x + ((y - one.y) / (two.y - one.y)) * (two.x - one.x));
  });
  return found.sort((a, b) => a - b);
}

const stepBytes = (step) => [...step.values()].reduce((sum, copy) => sum + copy.length, 0);
