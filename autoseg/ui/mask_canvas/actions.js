// What a reader can do to what is shown; buttons, keys and gestures all come here.
class Actions {
  constructor(app) {
    this.app = app;
  }

  hover(x, y) {
    const { marks, hints } = this.app;
    marks.pointer = [x, y];
    marks.draw();
    hints.hover(x, y);
  }

  leave() {
    const { marks, hints } = this.app;
    marks.pointer = null;
    marks.draw();
    hints.leave();
  }

  moveView(change) {
    if (!this.app.data) return;
    change(this.app.view);
    this.app.redraw(true);
  }

  /** Select the region around a pixel; nothing beside the image, or at the same pixel again. */
  select(pixel) {
    const { app } = this;
    const former = app.state.region?.at;
    const again = pixel && former && pixel.x === former.x && pixel.y === former.y;
    if (!pixel || again) return app.update({ region: null });
    const { width, height } = app.data;
    const found = connectedRegion(app.reading.mask(), width, height, pixel.x, pixel.y);
    app.update({ region: { ...found, at: pixel } });
  }

  /** Esc: drop one thing, the newest first. */
  escape() {
    const { app } = this;
    if (app.tools.points.length) app.tools.abandon();
    else if (app.state.region) app.update({ region: null });
    else if (app.state.cursor) app.update({ cursor: null });
    else if (app.stageSize.isFull) app.stageSize.toggleFull();
    else return false;
    return true;
  }

  setMode(mode) {
    const { app } = this;
    const { split, hidden } = app.state;
    const look = mode === "correct" ? { split: false, hidden: new Set() } : { split, hidden };
    app.tools.lift();
    app.tools.abandon();
    app.update({ mode, layer: "mask", ...look, region: null, cursor: null, restored: false });
  }

  setLayer(layer) {
    this.app.update({ layer, split: layer === "mask" && this.app.state.split });
  }

  toggleSplit() {
    this.app.update({ split: !this.app.state.split, layer: "mask" });
  }

  /** A class is taken to paint with, or shown alone. */
  pickClass(index) {
    const { app } = this;
    const { state, data } = app;
    if (index !== IGNORED && index >= data.names.length) return;
    if (state.mode === "correct") {
      app.update({ paint: index, tool: state.tool === "eraser" ? "brush" : state.tool });
    } else if (index !== IGNORED) {
      const others = [...data.names.keys()].filter((other) => other !== index);
      app.update({ hidden: new Set(this.isSolo(index) ? [] : others) });
    }
  }

  isSolo(index) {
    const { hidden } = this.app.state;
    return !hidden.has(index) && hidden.size > 0 && hidden.size === this.app.data.names.length - 1;
  }

  toggleClass(index) {
    const hidden = new Set(this.app.state.hidden);
    if (!hidden.delete(index)) hidden.add(index);
    this.app.update({ hidden });
  }

  chooseColor(index, text) {
    const { names, palette } = this.app.data;
    chosenColors.choose(names[index], palette[index], fromHex(text));
    this.app.update({ colors: chosenColors.of(names, palette) });
  }

  resetColors() {
    const { names, palette } = this.app.data;
    chosenColors.forget(names);
    this.app.update({ colors: chosenColors.of(names, palette) });
  }

  requestExport(format) {
    const { data, state, reading } = this.app;
    const threshold = reading.thresholding ? state.threshold : null;
    trigger("export", { id: data.id, format, threshold });
  }
}
