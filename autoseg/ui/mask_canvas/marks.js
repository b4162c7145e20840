// What is drawn over the stage but is no part of the picture: brush, cursor, open polygon.
const SVG = "http://www.w3.org/2000/svg";

class Marks {
  constructor(app) {
    this.app = app;
    this.node = document.createElementNS(SVG, "svg");
    this.node.classList.add("mc-marks");
    this.node.setAttribute("aria-hidden", "true");
    const add = (tag, kind) => {
      const made = document.createElementNS(SVG, tag);
      made.setAttribute("class", kind);
      this.node.append(made);
      return made;
    };
    this.brush = [add("circle", "mc-dark"), add("circle", "mc-light")];
    this.shape = [add("path", "mc-dark"), add("path", "mc-light")];
    this.cross = [add("path", "mc-dark"), add("path", "mc-light")];
    this.pointer = null;
  }

  draw() {
    const { state, view, tools, data } = this.app;
    const drawing = data && state.mode === "correct";
    const at = state.cursor ? view.toStage(state.cursor.x + 0.5, state.cursor.y + 0.5) : null;
    const brushAt = state.cursor ? at : this.pointer;
    const radius = Math.max(2, (state.size / 2) * view.scale);
    for (const circle of this.brush) {
      circle.style.display = drawing && tools.strokes && brushAt ? "" : "none";
      if (!brushAt) continue;
      circle.setAttribute("cx", brushAt[0]);
      circle.setAttribute("cy", brushAt[1]);
      circle.setAttribute("r", radius);
    }
    for (const path of this.cross) path.setAttribute("d", at ? crossAt(at) : "");
    for (const path of this.shape) path.setAttribute("d", drawing ? this.outline(brushAt) : "");
  }

  outline(loose) {
    const { tools, view } = this.app;
    if (!tools.points.length) return "";
    const corners = tools.points.map((point) => view.toStage(point.x, point.y));
    const line = loose ? [...corners, loose] : corners;
    const lines = line.map(([x, y], k) => `${k ? "L" : "M"}${x} ${y}`);
    const boxes = corners.map(([x, y]) => `M${x - 4} ${y - 4}h8v8h-8z`);
    return [...lines, ...boxes].join("");
  }
}

const crossAt = ([x, y]) => `M${x - 14} ${y}h9M${x + 5} ${y}h9M${x} ${y - 14}v9M${x} ${y + 5}v9`;
