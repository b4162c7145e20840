// Colours of classes, of confidence and of differences, as look-up tables of 32-bit pixels.
const OWN_COLORS = "autoseg.class-colors";

/** From doubt to certainty; equal steps of lightness, so that the colour-blind read it too.
 *  Source: the colour map "inferno" of matplotlib. */
const HEAT = [
  [252, 255, 164],
  [252, 165, 10],
  [221, 81, 58],
  [147, 38, 103],
  [66, 10, 104],
  [8, 6, 28],
];

const DIFFERENCES = { same: 0, mine: 1, theirs: 2, confused: 3 };
const DIFFERENCE_COLORS = [null, [59, 143, 214], [230, 121, 20], [204, 121, 167]];

const packedColor = ([red, green, blue], alpha = 255) =>
  ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const hex = (color) => "#" + color.map((part) => part.toString(16).padStart(2, "0")).join("");
const fromHex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
const isBlack = (color) => !color || color.every((part) => part === 0);

/** Colours that this reader chose for classes, by name; void when the data set's own changes. */
const chosenColors = {
  read() {
    try {
      return JSON.parse(localStorage.getItem(OWN_COLORS)) || {};
    } catch {
      return {};
    }
  },
  write(all) {
    try {
      localStorage.setItem(OWN_COLORS, JSON.stringify(all));
    } catch {
      // A browser that keeps nothing: the colours last until the page is closed.
    }
  },
  of(names, palette) {
    const all = this.read();
    return palette.map((color, index) => {
      const chosen = all[names[index]];
      return chosen && chosen.from === hex(color) ? fromHex(chosen.to) : color;
    });
  },
  choose(name, from, to) {
    this.write({ ...this.read(), [name]: { from: hex(from), to: hex(to) } });
  },
  forget(names) {
    const all = this.read();
    for (const name of names) delete all[name];
    this.write(all);
  },
};

/** Pixels by class; 0 draws nothing: hidden classes, and a background that is black. */
function classTable(colors, hidden) {
  const table = new Uint32Array(256);
  colors.forEach((color, index) => {
    if (!hidden.has(index) && !(index === 0 && isBlack(color))) table[index] = packedColor(color);
  });
  return table;
}

/** Pixels by confidence: from 1 / classes, the least a winner can have, to 1. */
function heatTable(classes) {
  const least = 255 / Math.max(2, classes);
  return Uint32Array.from({ length: 256 }, (_, value) => {
    const at = (Math.max(0, value - least) / (255 - least)) * (HEAT.length - 1);
    const low = Math.min(HEAT.length - 2, Math.floor(at));
    const mix = (part, k) => Math.round(part + (at - low) * (HEAT[low + 1][k] - part));
    // Doubt covers, certainty lets through.
    return packedColor(HEAT[low].map(mix), Math.round(255 - (165 * at) / (HEAT.length - 1)));
  });
}

const DIFFERENCE_TABLE = Uint32Array.from({ length: 256 }, (_, kind) =>
  DIFFERENCE_COLORS[kind] ? packedColor(DIFFERENCE_COLORS[kind]) : 0,
);
