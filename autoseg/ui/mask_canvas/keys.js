// The keyboard: everything that a mouse can do on the stage.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOL_KEYS = { b: "brush", e: "eraser", p: "polygon", g: "fill" };
const WRITTEN_IN = "input:not([type=range]):not([type=color]), select, textarea";
const PAN_STEP = 60;
const ZOOM_KEYS = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };

/** The list of keys, for those who look for it. */
class KeysHelp {
  constructor() {
    const rows = [
      ["+  −  0", T("Zoom in, zoom out, whole image")],
      ["← ↑ → ↓", T("Move the image; when correcting, move the brush")],
      ["Shift + ←", T("Move the reading cursor; when correcting, in large steps")],
      ["Enter", T("Select the region under the cursor; close a polygon")],
      ["Esc", T("Deselect, drop a polygon")],
      ["O", T("Areas or outlines")],
      ["C", T("Side by side")],
      ["F", T("Full screen")],
      [T("Space bar"), T("Paint, fill or set a corner")],
      ["1 – 9,  L", T("Choose the class; L leaves out")],
      ["B  E  P  G", T("Brush, eraser, polygon, fill region")],
      ["[  ]", T("Smaller or larger brush")],
      ["Ctrl + Z,  Ctrl + Y", T("Undo, redo")],
    ];
    const entries = rows.map(([keys, text]) =>
      make("div", {}, make("dt", { text: keys }), make("dd", { text })),
    );
    const close = button("close", T("Close"), () => this.open(false), { kind: "plain" });
    this.node = make(
      "div",
      { class: "mc-help", role: "dialog", "aria-label": T("Keys"), hidden: true },
      make("header", {}, make("b", { text: T("Keys") }), close),
      make("dl", {}, ...entries),
    );
    this.opener = button("keys", T("Keys"), () => this.open(this.node.hidden), {
      kind: "plain mc-keys",
    });
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.open(false);
    });
  }

  open(shown) {
    this.node.hidden = !shown;
    this.opener.setAttribute("aria-expanded", String(shown));
    (shown ? this.node.querySelector("button") : this.opener).focus();
  }
}

class Keys {
  constructor(app) {
    this.app = app;
    this.drawing = false;
    app.root.addEventListener("keydown", (event) => this.down(event));
    app.root.addEventListener("keyup", (event) => event.key === " " && this.lift());
    app.canvas.addEventListener("blur", () => this.lift());
  }

  down(event) {
    if (!this.app.data || event.altKey) return;
    if (event.target.matches(WRITTEN_IN)) return;
    if (this.meant(event)) event.preventDefault();
  }

  /** Do what a key means; whether it means anything here. */
  meant(event) {
    if (event.ctrlKey || event.metaKey) return this.control(event);
    const onStage = event.target === this.app.canvas;
    return (onStage && this.stage(event)) || this.anywhere(event);
  }

  control(event) {
    const key = event.key.toLowerCase();
    if (this.app.state.mode !== "correct" || !["z", "y"].includes(key)) return false;
    if (key === "y" || event.shiftKey) this.app.tools.redo();
    else this.app.tools.undo();
    return true;
  }

  /** Keys that other controls need for themselves, so only where the stage has the focus. */
  stage(event) {
    const { app } = this;
    const correcting = app.state.mode === "correct";
    const arrow = ARROWS[event.key];
    if (arrow && !correcting && !event.shiftKey) return this.pan(arrow);
    if (arrow) return this.moveCursor(arrow, event.shiftKey === correcting ? 8 : 1);
    if (event.key === " ") return this.space(event.repeat);
    if (event.key !== "Enter") return false;
    if (correcting && app.state.tool === "polygon") app.tools.close();
    else app.actions.select(this.cursor());
    return true;
  }

  anywhere(event) {
    const { app } = this;
    const { state, actions } = app;
    const key = event.key.toLowerCase();
    if (ZOOM_KEYS[key]) actions.moveView((view) => view.zoom(ZOOM_KEYS[key]));
    else if (key === "escape") return actions.escape();
    else if (key === "f") app.stageSize.toggleFull();
    else if (key === "o") app.update({ outlined: !state.outlined });
    else if (key === "c" && app.data.other) actions.toggleSplit();
    else if (key === "0") actions.moveView((view) => view.fit());
    else return state.mode === "correct" && this.correcting(key);
    return true;
  }

  correcting(key) {
    const { actions, tools } = this.app;
    if (key === "l") actions.pickClass(IGNORED);
    else if (key >= "1" && key <= "9") actions.pickClass(Number(key) - 1);
    else if (TOOL_KEYS[key]) tools.choose(TOOL_KEYS[key]);
    else if (key === "[" || key === "]") tools.resize(key === "]" ? 1.25 : 0.8);
    else return false;
    return true;
  }

  pan([dx, dy]) {
    this.app.actions.moveView((view) => view.pan(-dx * PAN_STEP, -dy * PAN_STEP));
    return true;
  }

  cursor() {
    const { data, state, view } = this.app;
    if (state.cursor) return state.cursor;
    const [x, y] = view.toImage(view.width / 2, view.height / 2).map((at) => Math.floor(at + 1e-6));
    return this.held({ x, y }, data);
  }

  held({ x, y }, { width, height }) {
    const into = (at, size) => Math.min(size - 1, Math.max(0, at));
    const [column, row] = [into(x, width), into(y, height)];
    return { x: column, y: row, i: row * width + column };
  }

  moveCursor([dx, dy], factor) {
    const { app } = this;
    const step = Math.max(1, Math.round(3 / app.view.scale)) * factor;
    const from = this.cursor();
    const to = { x: from.x + dx * step, y: from.y + dy * step };
    const cursor = app.state.cursor ? this.held(to, app.data) : from;
    app.view.reveal(cursor.x + 0.5, cursor.y + 0.5);
    app.update({ cursor });
    if (this.drawing) app.tools.drag(cursor);
    app.hints.announce(cursor);
    return true;
  }

  space(repeated) {
    const { app } = this;
    if (repeated) return true;
    const cursor = this.cursor();
    if (!app.state.cursor) app.update({ cursor });
    if (app.state.mode !== "correct") app.actions.select(cursor);
    else if (app.tools.strokes) this.drawing = app.tools.press(cursor);
    else app.tools.tap(cursor, { x: cursor.x + 0.5, y: cursor.y + 0.5 });
    return true;
  }

  lift() {
    if (this.drawing) this.app.tools.lift();
    this.drawing = false;
  }
}
