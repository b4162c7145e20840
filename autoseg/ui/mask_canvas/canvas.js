// The component: one state, and the parts that show it.

/** Parts of the state that are not in the picture. */
const UNPAINTED = new Set([
  "status", "opacity", "statistics", "corners", "size", "cursor", "paint", "tool", "allClasses",
  "sending", "sent", "problem",
]);

class MaskCanvas {
  constructor(root) {
    this.root = root;
    this.state = {
      ...FRESH,
      status: "empty",
      mode: "view",
      layer: "mask",
      outlined: false,
      opacity: 0.55,
      split: false,
      splitAt: 0.5,
      hidden: new Set(),
      colors: [],
      statistics: null,
      tool: "brush",
      size: 20,
      paint: 1,
      allClasses: false,
      sending: new Set(),
    };
    this.data = null;
    this.view = new Viewport();
    this.reading = new Reading(this);
    this.recount = new Recount(this);
    this.tools = new Tools(this);
    this.actions = new Actions(this);
    this.sending = new Sending(this);
    this.loading = new Loading(this);
    this.build();
    this.painter = new Painter(this.canvas);
    this.gestures = new Gestures(this.canvas, meanings(this));
    this.keys = new Keys(this);
    this.stageSize = new StageSize(this);
    this.update({});
  }

  build() {
    this.canvas = make("canvas", {
      tabindex: "0",
      role: "application",
      "aria-label": T("Image with its mask"),
    });
    this.help = new KeysHelp();
    this.bar = new ViewBar(this);
    this.correctBar = new CorrectBar(this);
    this.hints = new Hints(this);
    this.compare = new Compare(this);
    this.table = new ClassTable(this);
    this.parts = [this.bar, this.correctBar, this.hints, this.compare, this.table];
    this.marks = new Marks(this);
    this.layOut();
  }

  layOut() {
    const { bar, correctBar, hints, compare, table } = this;
    this.empty = make("div", { class: "mc-empty" });
    this.title = make("b");
    this.time = make("span");
    this.stage = make(
      "div", { class: "mc-stage" },
      this.canvas, this.marks.node, compare.line, compare.left, compare.right,
      hints.chip, hints.region, bar.corner, correctBar.notice, correctBar.many, this.help.node,
    );
    const space = make("span", { class: "mc-space" });
    this.work = make(
      "div", { class: "mc-work" }, bar.node, correctBar.node,
      make("div", { class: "mc-body" }, this.stage,
        make("div", { class: "mc-panel" }, bar.sliders, compare.legend, table.node)),
      make("div", { class: "mc-foot" }, this.title, this.time, space, hints.place, hints.live),
    );
    this.root.replaceChildren(this.empty, this.work);
  }

  /** Set parts of the state; everything that shows them follows. */
  update(patch) {
    const changed = new Set(Object.keys(patch));
    Object.assign(this.state, patch);
    if (changed.has("threshold")) this.recount.soon();
    for (const part of this.parts) part.sync(changed);
    this.showStatus();
    if (changed.has("data")) this.showName();
    this.redraw([...changed].some((key) => !UNPAINTED.has(key)));
  }

  showStatus() {
    const { status, mode, tool } = this.state;
    this.root.dataset.status = status;
    this.root.dataset.mode = mode;
    this.stage.dataset.tool = mode === "correct" ? tool : "";
    const texts = {
      empty: FIXED.empty ? T(FIXED.empty) : T("Nothing to show yet."),
      loading: T("Loading…"),
      failed: T("The image could not be loaded. Choose it again."),
      ready: "",
    };
    this.empty.textContent = texts[status];
    this.empty.hidden = status === "ready" || (status === "loading" && Boolean(this.data));
    this.work.hidden = !this.empty.hidden;
  }

  showName() {
    const { id, name, modelName: model, seconds } = this.data;
    this.root.dataset.result = id;
    this.title.textContent = name;
    const time = seconds?.toFixed(2);
    if (time === undefined) this.time.textContent = "";
    else if (!model) this.time.textContent = T("{time} s for the prediction", { time });
    else this.time.textContent = T("Prediction of {model}, {time} s", { model, time });
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
    this.painter.draw(view, {
      photo: data.photo,
      opacity: strengthOf(state),
      region: state.region,
      layer: () => layerOf(this),
    });
    this.marks.draw();
    this.bar.showZoom(view);
    this.canvas.classList.toggle("mc-fitted", view.fitted && state.mode === "view");
    this.canvas.dataset.view = [view.scale, view.x, view.y].join(" ");
  }

  /** It was taken off the page for good: another is made when it comes back. */
  end() {
    this.recount.stop();
    this.loading.unload();
  }
}

const app = new MaskCanvas(element.querySelector(".mc"));
app.loading.load();
app.sending.answered();
watch("value", () => app.loading.load());
watch("answer", () => app.sending.answered());
