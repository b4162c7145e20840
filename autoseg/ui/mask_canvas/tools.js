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

  choose(tool) {
    this.lift();
    this.abandon();
    this.app.update({ tool });
  }

  resize(factor) {
    const { size } = this.app.state;
    const step = Math.max(1, Math.abs(Math.round(size * factor) - size));
    const wanted = size + (factor > 1 ? step : -step);
    this.app.update({ size: Math.min(MOST_BRUSH, Math.max(1, wanted)) });
  }

  /** The correction of the image, begun where there is none. */
  correction() {
    const { app } = this;
    const { data, state } = app;
    // Else the brush would seem to do nothing.
    if (state.hidden.has(this.index)) app.actions.toggleClass(this.index);
    if (!state.correction) {
      const begun = new Correction(data.width, data.height, app.reading.mask(), data.model);
      app.update({ correction: begun });
    }
    return state.correction;
  }

  /** Begin a stroke; whether it did: the pointer and the Space bar do not draw at once. */
  press(pixel) {
    if (this.from) return false;
    const correction = this.correction();
    correction.begin();
    this.from = pixel;
    this.drag(pixel);
    return true;
  }

  drag(pixel) {
    if (!this.from) return;
    this.app.state.correction.stroke(this.from, pixel, this.app.state.size, this.index);
    this.from = pixel;
    this.maskChanged({ finished: false });
  }

  lift() {
    if (!this.from) return;
    this.from = null;
    this.app.state.correction.end();
    this.maskChanged();
  }

  /** A second finger came down: what the first one drew was no stroke. */
  cancel() {
    if (!this.from) return;
    this.from = null;
    this.app.state.correction.cancel();
    this.maskChanged();
  }

  tap(pixel, point) {
    const { tool } = this.app.state;
    if (tool === "fill") {
      this.step((correction) => correction.fill(pixel.x, pixel.y, this.index));
    }
    if (tool === "polygon") this.addCorner(point);
  }

  addCorner(point) {
    const [first] = this.points;
    const far = first && Math.hypot(first.x - point.x, first.y - point.y) * this.app.view.scale;
    if (this.points.length > 2 && far < 12) return this.close();
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
    const correction = this.correction();
    correction.begin();
    change(correction);
    correction.end();
    this.maskChanged();
  }

  undo() {
    if (this.from) return; // The stroke is no step yet.
    if (this.points.length) {
      this.points.pop();
      return this.app.update({ corners: this.points.length });
    }
    this.app.state.correction?.undo();
    this.maskChanged();
  }

  redo() {
    if (this.from) return;
    this.app.state.correction?.redo();
    this.maskChanged();
  }

  discard() {
    const { app } = this;
    this.lift();
    DRAFTS.delete(app.data.id);
    app.update({ correction: null, restored: false, sent: "", region: null });
    app.recount.soon();
  }

  /** A correction in which nothing was drawn, as where a pinch began with one finger, is none. */
  maskChanged({ finished = true } = {}) {
    const { app } = this;
    if (!finished) return app.redraw(true);
    const correction = app.state.correction?.edits ? app.state.correction : null;
    if (correction) keepDraft(app.data.id, correction);
    const sent = !correction || correction.saved ? app.state.sent : "";
    app.update({ correction, region: null, restored: false, sent });
    app.recount.soon();
  }
}
