// The bar of the drawing tools.
class CorrectBar {
  constructor(app) {
    this.app = app;
    const tool = (key, text, keys) => ({ key, text, iconName: key, keys });
    this.tools = new Choice(
      T("Tool"),
      [
        tool("brush", T("Brush"), "B"),
        tool("eraser", T("Eraser"), "E"),
        tool("polygon", T("Polygon"), "P"),
        tool("fill", T("Fill region"), "G"),
      ],
      (key) => app.setTool(key),
    );
    this.tools.buttons.get("eraser").title = T("Eraser: brings the model's own mask back (E)");
    this.size = new Slider(T("Size"), {
      min: 1,
      max: MOST_BRUSH,
      step: 1,
      say: (size) => T("{area} px", { area: size }),
      oninput: (size) => app.update({ size }),
    });
    this.undo = button("undo", T("Undo"), () => app.tools.undo(), { keys: "Ctrl+Z" });
    this.redo = button("redo", T("Redo"), () => app.tools.redo(), { keys: "Ctrl+Y" });
    this.close = button("check", T("Close the shape"), () => app.tools.close(), {
      text: T("Close the shape"),
      keys: "Enter",
    });
    this.abandon = button("close", T("Drop the shape"), () => app.tools.abandon(), { keys: "Esc" });
    this.chips = make("div", { class: "mc-chips", role: "group", "aria-label": T("Paint with this class") });
    this.changed = make("output", { class: "mc-value mc-changed" });
    this.discard = button(null, T("Discard"), () => app.discard(), { text: T("Discard") });
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

  /** The classes at hand where the table is too far from the stage: on a phone. */
  syncChips(changed) {
    const { app } = this;
    if (changed.has("data")) {
      const chip = (index) => {
        const node = button(null, app.className(index), () => app.pickClass(index), { text: app.className(index) });
        node.prepend(make("i", { class: "mc-swatch" }));
        node.dataset.index = index;
        return node;
      };
      this.chips.replaceChildren(...[...app.data.names.keys(), IGNORED].map(chip));
    }
    if (!["data", "paint", "colors"].some((key) => changed.has(key))) return;
    for (const node of this.chips.children) {
      node.setAttribute("aria-pressed", String(Number(node.dataset.index) === app.state.paint));
      paintSwatch(node.firstChild, app, Number(node.dataset.index));
    }
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
    this.abandon.hidden = state.tool !== "polygon"; // Never hidden by a stroke: the stage would jump.
    this.abandon.disabled = !state.corners;
    const drawn = correction ? correction.changed : 0;
    const sent = state.sent === "yes" && (!correction || correction.saved);
    const wrong = { failed: T("Not sent. Try again."), refused: T("Not added.") }[state.sent];
    this.changed.classList.toggle("mc-bad", Boolean(wrong));
    this.changed.title = state.problem;
    this.changed.textContent =
      wrong || (sent ? T("Sent") : correction ? T("{area} px changed", { area: count(drawn) }) : "");
    this.discard.disabled = !correction;
    this.add.disabled = state.sending.has(data?.id);
    this.notice.hidden = !(data && state.restored);
    if (state.restored && !this.notice.children.length) {
      this.notice.append(
        make("span", { text: T("You have unsaved corrections of this image.") }),
        button(null, T("Go on"), () => this.app.setMode("correct"), { text: T("Go on") }),
        button(null, T("Discard"), () => this.app.discard(), { text: T("Discard") }),
      );
    }
    this.many.hidden = !data || state.mode !== "correct" || draftBytes() <= MOST_DRAFT_BYTES;
    this.many.textContent = T("{count} images have unsaved corrections, which fill the browser's memory. Add or discard some.", {
      count: DRAFTS.size,
    });
  }
}
