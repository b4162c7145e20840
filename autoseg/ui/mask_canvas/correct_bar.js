// The bar of the drawing tools.
class CorrectBar {
  constructor(app) {
    this.app = app;
    this.makeTools();
    this.makeSteps();
    this.chips = make("div", {
      class: "mc-chips",
      role: "group",
      "aria-label": T("Paint with this class"),
    });
    this.changed = make("output", { class: "mc-value mc-changed" });
    this.discard = this.discarding();
    this.add = button("check", T("Add to the data set"), () => app.sending.submit(), {
      text: T("Add to the data set"),
      kind: "primary",
    });
    this.node = make(
      "div",
      { class: "mc-bar mc-tools", role: "group", "aria-label": T("Correct"), hidden: true },
      this.tools.node,
      this.chips,
      this.size.node,
      this.undo,
      this.redo,
      this.close,
      this.abandon,
      make("div", { class: "mc-actions" }, this.changed, this.discard, this.add),
    );
    this.notice = make("div", { class: "mc-notice", role: "status", hidden: true });
    this.many = make("div", { class: "mc-notice mc-many", role: "status", hidden: true });
  }

  makeTools() {
    const { app } = this;
    const tool = (key, text, keys) => ({ key, text, iconName: key, keys });
    const tools = [
      tool("brush", T("Brush"), "B"),
      tool("eraser", T("Eraser"), "E"),
      tool("polygon", T("Polygon"), "P"),
      tool("fill", T("Fill region"), "G"),
    ];
    this.tools = new Choice(T("Tool"), tools, (key) => app.tools.choose(key));
    const eraser = this.tools.buttons.get("eraser");
    eraser.title = T("Eraser: brings the model's own mask back (E)");
    this.size = new Slider(T("Size"), {
      min: 1,
      max: MOST_BRUSH,
      step: 1,
      say: (size) => T("{area} px", { area: size }),
      oninput: (size) => app.update({ size }),
    });
  }

  makeSteps() {
    const { tools } = this.app;
    this.undo = button("undo", T("Undo"), () => tools.undo(), { keys: "Ctrl+Z" });
    this.redo = button("redo", T("Redo"), () => tools.redo(), { keys: "Ctrl+Y" });
    this.close = button("check", T("Close the shape"), () => tools.close(), {
      text: T("Close the shape"),
      keys: "Enter",
    });
    this.abandon = button("close", T("Drop the shape"), () => tools.abandon(), { keys: "Esc" });
  }

  discarding() {
    return button(null, T("Discard"), () => this.app.tools.discard(), { text: T("Discard") });
  }

  sync(changed) {
    const { state, data } = this.app;
    const { correction } = state;
    if (data) this.syncChips(changed);
    this.node.hidden = !data || state.mode !== "correct";
    this.tools.show(state.tool);
    this.size.node.hidden = !this.app.tools.strokes;
    this.size.show(state.size);
    this.undo.disabled = !(correction?.past.length || state.corners);
    this.redo.disabled = !correction?.future.length;
    this.close.hidden = state.tool !== "polygon";
    this.close.disabled = state.corners < 3;
    this.abandon.hidden = state.tool !== "polygon"; // Not by a stroke: the stage would jump.
    this.abandon.disabled = !state.corners;
    this.discard.disabled = !correction;
    this.add.disabled = state.sending.has(data?.id);
    this.syncChanged();
    this.syncNotices();
  }

  /** The classes at hand where the table is too far from the stage: on a phone. */
  syncChips(changed) {
    const { app } = this;
    if (changed.has("data")) {
      const indices = [...app.data.names.keys(), IGNORED];
      this.chips.replaceChildren(...indices.map((index) => this.chip(index)));
    }
    if (!["data", "paint", "colors"].some((key) => changed.has(key))) return;
    for (const node of this.chips.children) {
      const index = Number(node.dataset.index);
      node.setAttribute("aria-pressed", String(index === app.state.paint));
      paintSwatch(node.firstChild, app, index);
    }
  }

  chip(index) {
    const { actions, reading } = this.app;
    const text = reading.className(index);
    const node = button(null, text, () => actions.pickClass(index), { text });
    node.prepend(make("i", { class: "mc-swatch" }));
    node.dataset.index = index;
    return node;
  }

  /** What was drawn, and what became of it. */
  syncChanged() {
    const { state } = this.app;
    const { correction } = state;
    const wrong = { failed: T("Not sent. Try again."), refused: T("Not added.") }[state.sent];
    const isKept = state.sent === "yes" && (!correction || correction.saved);
    const drawn = correction ? T("{area} px changed", { area: count(correction.changed) }) : "";
    this.changed.classList.toggle("mc-bad", Boolean(wrong));
    this.changed.title = state.problem;
    this.changed.textContent = wrong || (isKept ? T("Sent") : drawn);
  }

  syncNotices() {
    const { state, data, actions } = this.app;
    this.notice.hidden = !(data && state.restored);
    if (state.restored && !this.notice.children.length) {
      this.notice.append(
        make("span", { text: T("You have unsaved corrections of this image.") }),
        button(null, T("Go on"), () => actions.setMode("correct"), { text: T("Go on") }),
        this.discarding(),
      );
    }
    const isDrawing = data && state.mode === "correct";
    this.many.hidden = !isDrawing || draftBytes() <= MOST_DRAFT_BYTES;
    this.many.textContent = T(
      "{count} images have unsaved corrections, which fill the browser's memory. Add or discard some.",
      { count: DRAFTS.size },
    );
  }
}
