// Layers of the picture: what is read at each pixel of the screen, and how it looks.

/** How each is read: the codes of one row of the screen. */
const LAYERS = {
  /** Classes of a mask. */
  classes:
    (mask, imageWidth) =>
    (codes, at, row, { columns }) => {
      const base = row * imageWidth;
      for (let k = 0; k < columns.length; k++) codes[at + k] = mask[base + columns[k]];
    },

  /** Classes of a two-class model where class 1 is taken from `least` of 255 on. */
  threshold:
    (model, map, least, imageWidth, imageHeight) =>
    (codes, at, row, { columns }) => {
      const base = Math.floor(((row + 0.5) * map.height) / imageHeight) * map.width;
      const across = map.width / imageWidth;
      for (let k = 0; k < columns.length; k++) {
        const value = map.data[base + Math.floor((columns[k] + 0.5) * across)];
        codes[at + k] = thresholdedIndex(model[row * imageWidth + columns[k]], value, least);
      }
    },

  /** Values of a confidence map, which may be smaller than the image. */
  confidence:
    (map, imageWidth, imageHeight) =>
    (codes, at, row, { columns }) => {
      const base = Math.floor(((row + 0.5) * map.height) / imageHeight) * map.width;
      const across = map.width / imageWidth;
      for (let k = 0; k < columns.length; k++) {
        codes[at + k] = map.data[base + Math.floor((columns[k] + 0.5) * across)];
      }
    },

  /** Kinds of difference between two masks. */
  differences:
    (mask, other, imageWidth, hasBackground) =>
    (codes, at, row, { columns }) => {
      const base = row * imageWidth;
      for (let k = 0; k < columns.length; k++) {
        const i = base + columns[k];
        codes[at + k] = differenceOf(mask[i], other[i], hasBackground);
      }
    },

  /** One reader left of a column of the screen, another from it on. */
  sides: (mine, theirs, splitAt) => (codes, at, row, frame) => {
    const cut = Math.min(frame.columns.length, Math.max(0, Math.round(splitAt()) - frame.left));
    mine(codes, at, row, { ...frame, columns: frame.columns.subarray(0, cut) });
    theirs(codes, at + cut, row, { ...frame, columns: frame.columns.subarray(cut) });
  },
};

function differenceOf(mine, theirs, hasBackground) {
  if (mine === theirs || mine === IGNORED || theirs === IGNORED) return DIFFERENCES.same;
  if (hasBackground && theirs === 0) return DIFFERENCES.mine;
  if (hasBackground && mine === 0) return DIFFERENCES.theirs;
  return DIFFERENCES.confused;
}

/** The layer that the canvas shows, as `Painter.draw` takes it. */
function layerOf(app) {
  const { state, data } = app;
  const { confidence, other, width, height } = data;
  if (state.layer === "confidence" && confidence) {
    return {
      read: LAYERS.confidence(confidence, width, height),
      table: heatTable(data.names.length),
    };
  }
  if (state.layer === "differences") {
    return {
      read: LAYERS.differences(app.reading.mask(), other.data, width, data.hasBackground),
      table: DIFFERENCE_TABLE,
    };
  }
  return {
    read: masksReader(app),
    table: classTable(state.colors, state.hidden),
    outlined: state.outlined,
    hatched: true,
  };
}

/** The mask as it stands, with the other one right of the line between them. */
function masksReader({ state, data, reading, painter }) {
  const { model, confidence, other, width, height } = data;
  const own = reading.thresholding
    ? LAYERS.threshold(model, confidence, reading.least, width, height)
    : LAYERS.classes(reading.mask(), width);
  if (!state.split) return own;
  const splitAt = () => state.splitAt * painter.canvas.width;
  return LAYERS.sides(own, LAYERS.classes(other.data, width), splitAt);
}

/** Lines need more strength than areas to be seen alike. */
function strengthOf({ opacity, outlined, layer }) {
  return outlined && layer === "mask" ? Math.sqrt(opacity) : opacity;
}
