// What can be counted in a mask: areas, agreement with another mask, connected regions.

/** The class at a pixel of a two-class model that takes class 1 from `least` of 255 on. */
function thresholdedIndex(index, value, least) {
  if (index === IGNORED) return index;
  return (index === 1 ? value : 255 - value) >= least ? 1 : 0;
}

function thresholdedMask(model, confidence, least, width, height) {
  const mask = new Uint8Array(model.length);
  for (let y = 0, i = 0; y < height; y++) {
    const base = Math.floor(((y + 0.5) * confidence.height) / height) * confidence.width;
    const across = confidence.width / width;
    for (let x = 0; x < width; x++, i++) {
      mask[i] = thresholdedIndex(model[i], confidence.data[base + Math.floor((x + 0.5) * across)], least);
    }
  }
  return mask;
}

/** Pixels of each class, mean confidence in it, and its intersection over union with `other`.
 */
function statistics({ width, height, mask, model, confidence, other, names }) {
  const areas = new Uint32Array(256);
  for (let i = 0; i < mask.length; i++) areas[mask[i]]++;
  return {
    areas,
    total: mask.length,
    confidences: confidence && meanConfidences(width, height, mask, model, confidence, names.length === 2),
    agreement: other && agreement(mask, other),
  };
}

/** Mean confidence by class, over the cells of the confidence map, or null where it has none.
 *  What the model gives a class that is not its own choice is known where there are two. */
function meanConfidences(width, height, mask, model, confidence, twoClasses) {
  const sums = new Float64Array(256);
  const cells = new Uint32Array(256);
  const same = confidence.width === width && confidence.height === height;
  for (let y = 0; y < confidence.height; y++) {
    const base = same ? y * width : Math.floor(((y + 0.5) * height) / confidence.height) * width;
    for (let x = 0; x < confidence.width; x++) {
      const i = base + (same ? x : Math.floor(((x + 0.5) * width) / confidence.width));
      const value = confidence.data[y * confidence.width + x];
      if (mask[i] !== model[i] && !twoClasses) continue;
      sums[mask[i]] += mask[i] === model[i] ? value : 255 - value;
      cells[mask[i]]++;
    }
  }
  return Array.from(sums, (sum, index) => (cells[index] ? sum / cells[index] / 255 : null));
}

/** Intersection over union by class, and pixels that differ; ignored pixels count nowhere. */
function agreement(mask, other) {
  const both = new Uint32Array(256);
  const mine = new Uint32Array(256);
  const theirs = new Uint32Array(256);
  let compared = 0;
  for (let i = 0; i < mask.length; i++) {
    const a = mask[i];
    const b = other[i];
    if (a === IGNORED || b === IGNORED) continue;
    compared++;
    mine[a]++;
    theirs[b]++;
    if (a === b) both[a]++;
  }
  const same = both.reduce((sum, pixels) => sum + pixels, 0);
  const iou = Array.from(both, (pixels, index) => {
    const union = mine[index] + theirs[index] - pixels;
    return union ? pixels / union : null;
  });
  return { iou, theirs, compared, different: compared - same };
}

/** The region of one class around a pixel, by its four neighbours: its box and bits in that box. */
function connectedRegion(mask, width, height, x, y) {
  const wanted = mask[y * width + x];
  const seen = new Uint8Array(width * height);
  const stack = [x, y];
  const box = { left: x, right: x, top: y, bottom: y };
  let area = 0;
  while (stack.length) {
    const row = stack.pop();
    const column = stack.pop();
    const base = row * width;
    if (seen[base + column]) continue;
    let from = column;
    let to = column;
    while (from > 0 && mask[base + from - 1] === wanted) from--;
    while (to < width - 1 && mask[base + to + 1] === wanted) to++;
    seen.fill(1, base + from, base + to + 1);
    area += to - from + 1;
    box.left = Math.min(box.left, from);
    box.right = Math.max(box.right, to);
    box.top = Math.min(box.top, row);
    box.bottom = Math.max(box.bottom, row);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= height) continue;
      let open = false;
      for (let i = from; i <= to; i++) {
        const found = mask[next * width + i] === wanted && !seen[next * width + i];
        if (found && !open) stack.push(i, next);
        open = found;
      }
    }
  }
  return { index: wanted, area, ...box, ...cut(seen, width, box) };
}

function cut(bits, width, { left, right, top, bottom }) {
  const across = right - left + 1;
  const inside = new Uint8Array(across * (bottom - top + 1));
  for (let y = top; y <= bottom; y++) {
    inside.set(bits.subarray(y * width + left, y * width + right + 1), (y - top) * across);
  }
  return { across, inside };
}
