// The drawing tools: pointers and keys become strokes, shapes and fills of the open correction.
const MOST_BRUSH = 400;

class Tools {
  constructor(app) {
    this.app = app;
    this.from = null; // Where the stroke was last.
    this.points = []; // Corners of the polygon being drawn.
  }

  get index() {
    return this.app.state.tool === "eraser" ? null : this.app.state.paint;
  }

  get strokes() {
    return ["brush", "eraser"].includes(this.app.state.tool);
  }

  /** Begin a stroke; whether it did: the pointer and the Space bar do not draw at once. */
  press(pixel) {
    if (this.from) return false;
    const correction = this.app.startCorrection();
    correction.begin();
    this.from = pixel;
    this.drag(pixel);
    return true;
  }

  drag(pixel) {
    if (!this.from) return;
    this.app.state.correction.stroke(this.from, pixel, this.app.state.size, this.index);
    this.from = pixel;
    this.app.maskChanged({ finished: false });
  }

  lift() {
    if (!this.from) return;
    this.from = null;
    this.app.state.correction.end();
    this.app.maskChanged();
  }

  /** A second finger came down: what the first one drew was no stroke. */
  cancel() {
    if (!this.from) return;
    this.from = null;
    this.app.state.correction.cancel();
    this.app.maskChanged();
  }

  tap(pixel, point) {
    if (this.app.state.tool === "fill") this.step((correction) => correction.fill(pixel.x, pixel.y, this.index));
    if (this.app.state.tool === "polygon") this.addCorner(point);
  }

  addCorner(point) {
    const [first] = this.points;
    const near = first && Math.hypot(first.x - point.x, first.y - point.y) * this.app.view.scale < 12;
    if (near && this.points.length > 2) return this.close();
    this.points.push(point);
    this.app.update({ corners: this.points.length });
  }

  close() {
    const points = this.points;
    this.abandon();
    if (points.length > 2) this.step((correction) => correction.polygon(points, this.index));
  }

  abandon() {
    this.points = [];
    this.app.update({ corners: 0 });
  }

  step(change) {
    this.lift();
    const correction = this.app.startCorrection();
    correction.begin();
    change(correction);
    correction.end();
    this.app.maskChanged();
  }

  undo() {
    if (this.from) return; // The stroke is no step yet.
    if (this.points.length) {
      this.points.pop();
      return this.app.update({ corners: this.points.length });
    }
    this.app.state.correction?.undo();
    this.app.maskChanged();
  }

  redo() {
    if (this.from) return;
    this.app.state.correction?.redo();
    this.app.maskChanged();
  }
}
