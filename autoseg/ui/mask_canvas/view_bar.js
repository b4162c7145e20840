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
    const pick = (key) => (value) => app.update({ [key]: value });
    this.mode = new Choice(
      T("Mode"),
      [
        { key: "view", text: T("View"), iconName: "eye" },
        { key: "correct", text: T("Correct"), iconName: "brush" },
      ],
      (mode) => app.setMode(mode),
    );
    this.layer = new Choice(
      T("Layer"),
      [
        { key: "mask", text: T("Mask") },
        { key: "confidence", text: T("Confidence") },
        { key: "differences", text: T("Differences") },
      ],
      (layer) => app.setLayer(layer),
    );
    this.style = new Choice(
      T("Style"),
      [
        { key: "fill", text: T("Fill") },
        { key: "outline", text: T("Outline"), keys: "O" },
      ],
      (style) => app.update({ outlined: style === "outline" }),
    );
    this.split = button(null, T("Side by side"), () => app.toggleSplit(), { text: T("Side by side"), keys: "C" });
    this.opacity = new Slider(T("Opacity"), { min: 0, max: 1, step: 0.01, say: percent, oninput: pick("opacity") });
    this.threshold = new Slider(T("Threshold"), {
      min: 0.01,
      max: 0.99,
      step: 0.01,
      say: percent,
      oninput: pick("threshold"),
    });
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
    this.sliders = make("div", { class: "mc-sliders" }, this.opacity.node, this.threshold.node);
    this.zoom = make("output", { class: "mc-value", "aria-label": T("Zoom") });
    const view = (run) => () => app.moveView(run);
    this.corner = make(
      "div",
      { class: "mc-corner" },
      button(
        "minus",
        T("Zoom out"),
        view((port) => port.zoom(1 / 1.5)),
        { keys: "-", kind: "plain" },
      ),
      this.zoom,
      button(
        "plus",
        T("Zoom in"),
        view((port) => port.zoom(1.5)),
        { keys: "+", kind: "plain" },
      ),
      button(
        "fit",
        T("Whole image"),
        view((port) => port.fit()),
        { keys: "0", kind: "plain" },
      ),
      app.help.opener,
      button("full", T("Full screen"), () => app.toggleFull(), { keys: "F", kind: "plain" }),
    );
  }

  sync() {
    const { state, data } = this.app;
    if (!data) return;
    this.mode.node.hidden = !data.editable;
    this.mode.show(state.mode);
    this.layer.buttons.get("confidence").hidden = !data.confidence;
    this.layer.buttons.get("differences").hidden = !data.other;
    this.layer.node.hidden = !data.confidence && !data.other;
    this.layer.show(state.layer);
    this.style.node.hidden = state.layer !== "mask";
    this.style.show(state.outlined ? "outline" : "fill");
    this.split.hidden = !data.other;
    this.split.setAttribute("aria-pressed", String(state.split));
    this.opacity.show(state.opacity);
    this.threshold.node.hidden = !data.twoClasses || state.mode === "correct" || Boolean(state.correction);
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
      const item = make("button", { type: "button", role: "menuitem", text, onclick: () => this.choose(format) });
      item.dataset.format = format;
      return item;
    });
    this.note = make("small", { text: T("Downloads hold the model's own mask, without your corrections.") });
    this.menu = make(
      "div",
      { class: "mc-menu", hidden: true, onkeydown: (event) => this.key(event) },
      make("div", { role: "menu", "aria-label": T("Download") }, ...this.items),
      this.note,
    );
    this.opener = button("download", T("Download"), () => this.open(this.menu.hidden), { text: T("Download") });
    this.opener.setAttribute("aria-haspopup", "menu");
    this.node = make(
      "div",
      { class: "mc-download", onfocusout: (event) => this.node.contains(event.relatedTarget) || this.open(false) },
      this.opener,
      this.menu,
    );
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
    this.app.requestExport(format);
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
    this.items.find((item) => item.dataset.format === "confidence").hidden = !data.confidence;
    this.note.hidden = !state.correction;
  }
}
