// What mouse, pen and fingers mean to the canvas.

/** What each gesture on the stage does in the mode of looking and in that of correcting. */
function meanings(app) {
  const pixel = (x, y) => app.data && app.view.pixelAt(x, y);
  const near = (x, y) => {
    const [column, row] = app.view.toImage(x, y).map(Math.floor);
    return { x: column, y: row };
  };
  const correcting = () => app.state.mode === "correct";
  return {
    hover: (x, y) => app.actions.hover(x, y),
    leave: () => app.actions.leave(),
    press: (x, y) => {
      if (app.state.cursor) app.update({ cursor: null });
      if (!app.data || !correcting() || !app.tools.strokes) return false;
      return app.tools.press(near(x, y));
    },
    stroke: (x, y) => app.tools.drag(near(x, y)),
    lift: () => app.tools.lift(),
    cancel: () => app.tools.cancel(),
    tap: (x, y, touch) => {
      const at = pixel(x, y);
      const [column, row] = app.view.toImage(x, y);
      const isUseful = app.data && (at || app.state.tool === "polygon");
      if (!correcting()) app.actions.select(at);
      else if (isUseful) app.tools.tap(at, { x: column, y: row });
      if (touch) app.hints.hover(x, y);
    },
    twice: (x, y) => {
      if (!app.data) return;
      if (correcting()) return app.state.tool === "polygon" && app.tools.close();
      app.actions.moveView((view) => (view.fitted ? view.zoom(3, x, y) : view.fit()));
    },
    pan: (dx, dy) => app.actions.moveView((view) => view.pan(dx, dy)),
    zoom: (factor, x, y) => {
      if (!app.data) return false;
      const before = app.view.scale;
      app.actions.moveView((view) => view.zoom(factor, x, y));
      return app.view.scale !== before;
    },
  };
}
