// The bar above the stage: what is shown and how; and the buttons in its corners.
const FORMATS = () => [
  ["overlay", T("Picture with the mask (PNG)")],
  ["color", T("Mask in colours (PNG)")],
  ["index", T("Mask as class numbers (PNG)")],
  ["confidence", T("Confidence (PNG)")],
  ["polygons", T("Outlines as polygons (GeoJSON)")],
  ["coco", T("COCO with run lengths (JSON)")],
];

class ViewBar {
  constructor(app) {
    this.app = app;
    this.makeChoices();
    this.makeSliders();
    this.downloads = new DownloadMenu(app);
    this.node = make(
      "div",
      { class: "mc-bar", role: "group", "aria-label": T("View") },
      this.mode.node,
      this.layer.node,
      this.style.node,
      this.split,
      make("span", { class: "mc-space" }),
      this.downloads.node,
    );
    this.zoom = make("output", { class: "mc-value", "aria-label": T("Zoom") });
    this.corner = this.makeCorner();
  }

  makeChoices() {
    const { app } = this;
    const modes = [
      { key: "view", text: T("View"), iconName: "eye" },
      { key: "correct", text: T("Correct"), iconName: "brush" },
    ];
    const layers = [
      { key: "mask", text: T("Mask") },
      { key: "confidence", text: T("Confidence") },
      { key: "differences", text: T("Differences") },
    ];
    const styles = [
      { key: "fill", text: T("Fill") },
      { key: "outline", text: T("Outline"), keys: "O" },
    ];
    this.mode = new Choice(T("Mode"), modes, (mode) => app.actions.setMode(mode));
    this.layer = new Choice(T("Layer"), layers, (layer) => app.actions.setLayer(layer));
    this.style = new Choice(T("Style"), styles, (style) => {
      app.update({ outlined: style === "outline" });
    });
    this.split = button(null, T("Side by side"), () => app.actions.toggleSplit(), {
      text: T("Side by side"),
      keys: "C",
    });
  }

  makeSliders() {
    const { app } = this;
    const shares = { step: 0.01, say: percent };
    this.opacity = new Slider(T("Opacity"), {
      ...shares,
      min: 0,
      max: 1,
      oninput: (opacity) => app.update({ opacity }),
    });
    this.threshold = new Slider(T("Threshold"), {
      ...shares,
      min: 0.01,
      max: 0.99,
      oninput: (threshold) => app.update({ threshold }),
    });
    this.sliders = make("div", { class: "mc-sliders" }, this.opacity.node, this.threshold.node);
  }

  makeCorner() {
    const { app } = this;
    const plain = (iconName, name, keys, run) =>
      button(iconName, name, run, { keys, kind: "plain" });
    const view = (change) => () => app.actions.moveView(change);
    return make(
      "div",
      { class: "mc-corner" },
      plain("minus", T("Zoom out"), "-", view((port) => port.zoom(1 / 1.5))),
      this.zoom,
      plain("plus", T("Zoom in"), "+", view((port) => port.zoom(1.5))),
      plain("fit", T("Whole image"), "0", view((port) => port.fit())),
      app.help.opener,
      plain("full", T("Full screen"), "F", () => app.stageSize.toggleFull()),
    );
  }

  sync() {
    const { state, data } = this.app;
    if (!data) return;
    this.mode.node.hidden = !data.editable;
    this.mode.show(state.mode);
    this.layer.buttons.get("confidence").hidden = !data.packedConfidence;
    this.layer.buttons.get("differences").hidden = !data.other;
    this.layer.node.hidden = !data.packedConfidence && !data.other;
    this.layer.show(state.layer);
    this.style.node.hidden = state.layer !== "mask";
    this.style.show(state.outlined ? "outline" : "fill");
    this.split.hidden = !data.other;
    this.split.setAttribute("aria-pressed", String(state.split));
    this.opacity.show(state.opacity);
    const isDrawn = state.mode === "correct" || Boolean(state.correction);
    this.threshold.node.hidden = !data.twoClasses || isDrawn;
    this.threshold.show(state.threshold);
    this.downloads.sync();
  }

  showZoom(view) {
    this.zoom.textContent = percent(view.scale);
  }
}

class DownloadMenu {
  constructor(app) {
    this.app = app;
    this.items = FORMATS().map(([format, text]) => {
      const onclick = () => this.choose(format);
      const item = make("button", { type: "button", role: "menuitem", text, onclick });
      item.dataset.format = format;
      return item;
    });
    this.note = make("small", {
      text: T("Downloads hold the model's own mask, without your corrections."),
    });
    this.menu = make(
      "div",
      { class: "mc-menu", hidden: true, onkeydown: (event) => this.key(event) },
      make("div", { role: "menu", "aria-label": T("Download") }, ...this.items),
      this.note,
    );
    this.opener = button("download", T("Download"), () => this.open(this.menu.hidden), {
      text: T("Download"),
    });
    this.opener.setAttribute("aria-haspopup", "menu");
    this.node = make("div", { class: "mc-download" }, this.opener, this.menu);
    this.node.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.node.contains(relatedTarget)) this.open(false);
    });
    this.open(false);
  }

  open(shown) {
    this.menu.hidden = !shown;
    this.opener.setAttribute("aria-expanded", String(shown));
    if (shown) this.items.find((item) => !item.hidden).focus();
  }

  choose(format) {
    this.open(false);
    this.opener.focus();
    this.app.actions.requestExport(format);
  }

  key(event) {
    const shown = this.items.filter((item) => !item.hidden);
    const at = shown.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (event.key !== "Escape" && next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") {
      this.open(false);
      this.opener.focus();
    } else shown.at(next % shown.length).focus();
  }

  sync() {
    const { data, state } = this.app;
    this.node.hidden = !FIXED.downloads;
    this.items.find((item) => item.dataset.format === "confidence").hidden = !data.packedConfidence;
    this.note.hidden = !state.correction;
  }
}
