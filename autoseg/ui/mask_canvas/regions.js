// Masks by a threshold, and connected regions of a mask.

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
      const value = confidence.data[base + Math.floor((x + 0.5) * across)];
      mask[i] = thresholdedIndex(model[i], value, least);
    }
  }
  return mask;
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
      const start = next * width;
      const end = start + to;
      for (let i = start + from; i <= end; i++) {
        if (mask[i] !== wanted) continue;
        if (!seen[i]) stack.push(i - start, next); // A run is seen as a whole, or not at all.
        while (i < end && mask[i + 1] === wanted) i++;
      }
    }
  }
  return { index: wanted, area, ...box, ...cutOut(seen, width, box) };
}

function cutOut(bits, width, { left, right, top, bottom }) {
  const across = right - left + 1;
  const inside = new Uint8Array(across * (bottom - top + 1));
  for (let y = top; y <= bottom; y++) {
    inside.set(bits.subarray(y * width + left, y * width + right + 1), (y - top) * across);
  }
  return { across, inside };
}
