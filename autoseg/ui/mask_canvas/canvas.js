// The component: one state, the parts that show it, and what they may do to it.
const FRESH = { region: null, cursor: null, corners: 0, threshold: 0.5, correction: null, restored: false, sent: "", problem: "" };

class MaskCanvas {
  constructor(root) {
    this.root = root;
    this.state = {
      ...FRESH, status: "empty", mode: "view", layer: "mask", outlined: false, opacity: 0.55, split: false, splitAt: 0.5,
      hidden: new Set(), colors: [], statistics: null, tool: "brush", size: 20, paint: 1, allClasses: false, sending: new Set(),
    };
    this.data = null;
    this.turn = 0;
    this.view = new Viewport();
    this.tools = new Tools(this);
    this.sending = new Sending(this);
    this.build();
    this.painter = new Painter(this.canvas);
    this.gestures = new Gestures(this.canvas, meanings(this));
    this.keys = new Keys(this);
    this.watchSize();
    this.update({});
  }

  build() {
    this.canvas = make("canvas", { tabindex: "0", role: "application", "aria-label": T("Image with its mask") });
    this.help = new KeysHelp();
    this.parts = [
      (this.bar = new ViewBar(this)), (this.correctBar = new CorrectBar(this)), (this.hints = new Hints(this)),
      (this.compare = new Compare(this)), (this.table = new ClassTable(this)),
    ];
    this.marks = new Marks(this);
    this.empty = make("div", { class: "mc-empty" });
    this.title = make("b");
    this.time = make("span");
    this.stage = make(
      "div", { class: "mc-stage" }, this.canvas, this.marks.node, this.compare.line, this.compare.left, this.compare.right,
      this.hints.chip, this.hints.region, this.bar.corner, this.correctBar.notice, this.correctBar.many, this.help.node,
    );
    this.side = make("div", { class: "mc-panel" }, this.bar.sliders, this.compare.legend, this.table.node);
    this.work = make(
      "div", { class: "mc-work" }, this.bar.node, this.correctBar.node,
      make("div", { class: "mc-body" }, this.stage, this.side),
      make("div", { class: "mc-foot" }, this.title, this.time, make("span", { class: "mc-space" }), this.hints.place, this.hints.live),
    );
    this.root.replaceChildren(this.empty, this.work);
  }

  /** Set parts of the state; everything that shows them follows. */
  update(patch) {
    const changed = new Set(Object.keys(patch));
    Object.assign(this.state, patch);
    if (changed.has("threshold")) this.countSoon();
    for (const part of this.parts) part.sync(changed);
    this.showStatus(changed);
    const unpainted = ["opacity", "statistics", "corners", "size", "cursor", "paint", "tool", "allClasses", "sending", "sent", "problem"];
    this.redraw([...changed].some((key) => !unpainted.includes(key)));
  }

  showStatus(changed) {
    const { status, mode, tool } = this.state;
    this.root.dataset.status = status;
    this.root.dataset.mode = mode;
    this.stage.dataset.tool = mode === "correct" ? tool : "";
    const texts = { empty: FIXED.empty ? T(FIXED.empty) : T("Nothing to show yet."), loading: T("Loading…"), failed: T("The image could not be loaded. Choose it again."), ready: "" };
    this.empty.textContent = texts[status];
    this.empty.hidden = status === "ready" || (status === "loading" && Boolean(this.data));
    this.work.hidden = !this.empty.hidden;
    if (!this.data || !changed.has("data")) return;
    this.root.dataset.result = this.data.id;
    this.title.textContent = this.data.name;
    this.time.textContent = this.data.seconds === null ? "" : T("{seconds} s for the prediction", { seconds: this.data.seconds.toFixed(2) });
  }

  redraw(stale) {
    if (stale) this.painter.stale = true;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.data && this.view.width) this.draw();
    });
  }

  draw() {
    const { state, view, data } = this;
    this.painter.draw(view, { photo: data.photo, opacity: this.strength(), region: state.region, layer: () => this.layer() });
    this.marks.draw();
    this.bar.showZoom(view);
    this.canvas.classList.toggle("mc-fitted", view.fitted && state.mode === "view");
    this.canvas.dataset.view = [view.scale, view.x, view.y].join(" ");
  }

  /** Lines need more strength than areas to be seen alike. */
  strength() {
    const { opacity, outlined, layer } = this.state;
    return outlined && layer === "mask" ? Math.sqrt(opacity) : opacity;
  }

  layer() {
    const { state, data } = this;
    if (state.layer === "confidence") return { read: LAYERS.confidence(data.confidence, data.width, data.height), table: heatTable(data.names.length) };
    if (state.layer === "differences") return { read: LAYERS.differences(this.mask(), data.other.data, data.width, data.hasBackground), table: DIFFERENCE_TABLE };
    const own = this.thresholding
      ? LAYERS.threshold(data.model, data.confidence, this.least, data.width, data.height)
      : LAYERS.classes(this.mask(), data.width);
    const splitAt = () => state.splitAt * this.painter.canvas.width;
    const read = state.split ? LAYERS.sides(own, LAYERS.classes(data.other.data, data.width), splitAt) : own;
    return { read, table: classTable(state.colors, state.hidden), outlined: state.outlined, hatched: true };
  }

  // What is where

  get thresholding() {
    return Boolean(this.data?.twoClasses && !this.state.correction && this.state.threshold !== 0.5);
  }

  confidenceAt({ x, y }) {
    const { confidence, width, height } = this.data;
    const row = Math.floor(((y + 0.5) * confidence.height) / height);
    return confidence.data[row * confidence.width + Math.floor(((x + 0.5) * confidence.width) / width)];
  }

  get least() {
    return Math.round(255 * this.state.threshold);
  }

  /** The mask as it stands: corrected, or by the threshold, or the model's own. */
  mask() {
    const { state, data } = this;
    if (state.correction) return state.correction.mask;
    if (!this.thresholding) return data.model;
    if (this.derived?.threshold !== state.threshold || this.derived.of !== data) {
      const mask = thresholdedMask(data.model, data.confidence, this.least, data.width, data.height);
      this.derived = { threshold: state.threshold, of: data, mask };
    }
    return this.derived.mask;
  }

  classAt(pixel) {
    if (this.thresholding) return thresholdedIndex(this.data.model[pixel.i], this.confidenceAt(pixel), this.least);
    return (this.state.correction?.mask || this.data.model)[pixel.i];
  }

  /** The model's probability of a class at a pixel; null where it is not known. */
  probabilityAt(pixel, index) {
    const { confidence, model, names } = this.data;
    if (!confidence || index === IGNORED) return null;
    const share = this.confidenceAt(pixel) / 255;
    if (model[pixel.i] === index) return share;
    return names.length === 2 ? 1 - share : null;
  }

  className(index) {
    return index === IGNORED ? T("Leave out") : this.data.names[index] ?? T("Class {index}", { index });
  }

  /** In slices; a stroke puts it off, and asks again when it ends. */
  count() {
    const { data } = this;
    if (!data || this.tools.from) return;
    const counting = new Counting({ ...data, other: data.other?.data, mask: this.mask() });
    const slice = () => {
      if (this.tools.from) return;
      if (counting.go(SLICE_MS)) this.update({ statistics: counting.result });
      else this.counting = setTimeout(slice);
    };
    slice();
  }

  countSoon(wait = 200) {
    clearTimeout(this.counting);
    this.counting = setTimeout(() => this.count(), wait);
  }

  // What can be done

  hover(x, y) {
    this.marks.pointer = [x, y];
    this.marks.draw();
    this.hints.hover(x, y);
  }

  leave() {
    this.marks.pointer = null;
    this.marks.draw();
    this.hints.leave();
  }

  moveView(change) {
    if (!this.data) return;
    change(this.view);
    this.redraw(true);
  }

  select(pixel) {
    const { data, state } = this;
    const again = pixel && state.region && pixel.x === state.region.at?.x && pixel.y === state.region.at?.y;
    if (!pixel || again) return this.update({ region: null });
    this.update({ region: { ...connectedRegion(this.mask(), data.width, data.height, pixel.x, pixel.y), at: pixel } });
  }

  /** Esc: drop one thing, the newest first. */
  escape() {
    if (this.tools.points.length) this.tools.abandon();
    else if (this.state.region) this.update({ region: null });
    else if (this.state.cursor) this.update({ cursor: null });
    else if (this.root.classList.contains("mc-full")) this.toggleFull();
    else return false;
    return true;
  }

  setMode(mode) {
    const { split, hidden } = this.state;
    const look = mode === "correct" ? { split: false, hidden: new Set() } : { split, hidden };
    this.tools.lift();
    this.tools.abandon();
    this.update({ mode, layer: "mask", ...look, region: null, cursor: null, restored: false });
  }

  setTool(tool) {
    this.tools.lift();
    this.tools.abandon();
    this.update({ tool });
  }

  setLayer(layer) {
    this.update({ layer, split: layer === "mask" && this.state.split });
  }

  toggleSplit() {
    this.update({ split: !this.state.split, layer: "mask" });
  }

  resizeBrush(factor) {
    const step = Math.max(1, Math.abs(Math.round(this.state.size * factor) - this.state.size));
    this.update({ size: Math.min(MOST_BRUSH, Math.max(1, this.state.size + (factor > 1 ? step : -step))) });
  }

  pickClass(index) {
    if (index !== IGNORED && index >= this.data.names.length) return;
    if (this.state.mode === "correct") {
      this.update({ paint: index, tool: this.state.tool === "eraser" ? "brush" : this.state.tool });
    } else if (index !== IGNORED) {
      const others = this.data.names.map((_, other) => other).filter((other) => other !== index);
      this.update({ hidden: new Set(this.isSolo(index) ? [] : others) });
    }
  }

  isSolo(index) {
    const { hidden } = this.state;
    return !hidden.has(index) && hidden.size > 0 && hidden.size === this.data.names.length - 1;
  }

  toggleClass(index) {
    const hidden = new Set(this.state.hidden);
    if (!hidden.delete(index)) hidden.add(index);
    this.update({ hidden });
  }

  chooseColor(index, text) {
    chosenColors.choose(this.data.names[index], this.data.palette[index], fromHex(text));
    this.update({ colors: chosenColors.of(this.data.names, this.data.palette) });
  }

  resetColors() {
    chosenColors.forget(this.data.names);
    this.update({ colors: chosenColors.of(this.data.names, this.data.palette) });
  }

  async toggleFull() {
    const full = !this.root.classList.contains("mc-full");
    this.root.classList.toggle("mc-full", full);
    try {
      if (full) await this.root.requestFullscreen();
      else if (document.fullscreenElement) await document.exitFullscreen();
    } catch {
      // A phone that gives no full screen: the class alone fills the window.
    }
  }

  watchSize() {
    const measure = () => {
      const { clientWidth: width, clientHeight: height } = this.stage;
      if (!width || !height) return;
      this.painter.resize(width, height);
      this.view.resize(width, height);
      this.redraw(true);
    };
    const observer = new ResizeObserver(() => (this.root.isConnected ? measure() : this.end(observer)));
    observer.observe(this.stage);
    this.watchRatio(measure);
    this.root.addEventListener("fullscreenchange", () => this.root.classList.toggle("mc-full", document.fullscreenElement === this.root));
  }

  /** The page was zoomed, or moved to a screen with pixels of another size. */
  watchRatio(measure) {
    const ratio = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    const changed = () => {
      if (!this.root.isConnected) return;
      measure();
      this.watchRatio(measure);
    };
    ratio.addEventListener("change", changed, { once: true });
  }

  /** The canvas was taken off the page for good: another is made when it comes back. */
  end(observer) {
    observer.disconnect();
    clearTimeout(this.counting);
    this.turn += 1; // What is still being read is too late.
    this.place(null);
  }

  // Corrections

  startCorrection() {
    const { data, state } = this;
    if (state.hidden.has(this.tools.index)) this.toggleClass(this.tools.index); // Else the brush would seem to do nothing.
    if (!state.correction) this.update({ correction: new Correction(data.width, data.height, this.mask(), data.model) });
    return this.state.correction;
  }

  /** A correction in which nothing was drawn, as where a pinch began with one finger, is none. */
  maskChanged({ finished = true } = {}) {
    if (!finished) return this.redraw(true);
    const { sent } = this.state;
    const correction = this.state.correction?.edits ? this.state.correction : null;
    if (correction) keepDraft(this.data.id, correction);
    this.update({ correction, region: null, restored: false, sent: !correction || correction.saved ? sent : "" });
    this.countSoon();
  }

  discard() {
    this.tools.lift();
    DRAFTS.delete(this.data.id);
    this.update({ correction: null, restored: false, sent: "", region: null });
    this.countSoon();
  }

  requestExport(format) {
    trigger("export", { id: this.data.id, format, threshold: this.thresholding ? this.state.threshold : null });
  }

  // Values

  async load() {
    const value = props.value;
    const turn = (this.turn += 1);
    if (!value) return this.place(null);
    this.update({ status: "loading" });
    let data;
    try {
      data = await readValue(value);
    } catch (error) {
      console.warn(error);
      if (turn === this.turn) this.update({ status: "failed" });
      return;
    }
    if (turn !== this.turn) return data.photo.close();
    this.place(data);
  }

  place(data) {
    this.tools.lift(); // An open stroke is one of the former image.
    const former = this.data;
    this.data = data;
    this.tools.points = [];
    this.derived = null;
    if (!data) {
      former?.photo.close();
      return this.update({ ...FRESH, status: "empty" });
    }
    const { state } = this;
    const again = former?.id === data.id; // The same result with something else to compare it with.
    const draft = (again && state.correction) || DRAFTS.get(data.id);
    const kept = draft && draft.mask.length === data.model.length && sameBytes(draft.model, data.model) ? draft : null;
    const sameNames = former && former.names.join("\n") === data.names.join("\n");
    const known = { mask: true, confidence: data.confidence, differences: data.other };
    this.update({
      ...FRESH, status: "ready", data: data.id, statistics: null, correction: kept, restored: Boolean(kept && !again),
      threshold: again ? state.threshold : FRESH.threshold,
      sent: again ? state.sent : "", problem: again ? state.problem : "",
      hidden: sameNames ? state.hidden : new Set(), paint: sameNames ? state.paint : Math.min(1, data.names.length - 1),
      colors: chosenColors.of(data.names, data.palette), mode: data.editable ? state.mode : "view",
      layer: known[state.layer] ? state.layer : "mask", split: Boolean(state.split && data.other),
    });
    const sameSize = former && former.name === data.name && former.width === data.width && former.height === data.height;
    if (!sameSize) this.view.show(data.width, data.height);
    if (!sameSize) this.update({ size: Math.max(4, Math.round(0.03 * Math.max(data.width, data.height))) });
    former?.photo.close();
    this.countSoon(20);
    data.photo.makeHalves().then(() => this.redraw(false), () => {});
  }
}

const app = new MaskCanvas(element.querySelector(".mc"));
app.load();
app.sending.answered();
watch("value", () => app.load());
watch("answer", () => app.sending.answered());
