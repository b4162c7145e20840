// The line between two masks, and what their differences are.
class Compare {
  constructor(app) {
    this.app = app;
    this.line = make("div", {
      class: "mc-split",
      role: "slider",
      tabindex: "0",
      hidden: true,
      "aria-label": T("Line between the two masks"),
      "aria-valuemin": "0",
      "aria-valuemax": "100",
      onpointerdown: (event) => this.line.setPointerCapture(event.pointerId),
      onpointermove: (event) => this.line.hasPointerCapture(event.pointerId) && this.drag(event),
      onkeydown: (event) => this.key(event),
    });
    this.left = make("span", { class: "mc-side left", hidden: true });
    this.right = make("span", { class: "mc-side right", hidden: true });
    this.legend = make("div", { class: "mc-legend", hidden: true });
  }

  drag(event) {
    const box = this.line.parentElement.getBoundingClientRect();
    this.move((event.clientX - box.left) / box.width);
  }

  key(event) {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(this.app.state.splitAt + step);
  }

  move(share) {
    this.app.update({ splitAt: Math.min(1, Math.max(0, share)) });
  }

  sync(changed) {
    const { state, data } = this.app;
    const split = Boolean(data && state.split);
    for (const node of [this.line, this.left, this.right]) node.hidden = !split;
    if (split) {
      this.line.style.left = `${100 * state.splitAt}%`;
      this.line.setAttribute("aria-valuenow", Math.round(100 * state.splitAt));
      this.left.textContent = state.correction ? T("Your correction") : data.ownName;
      this.right.textContent = data.otherName;
    }
    if (["layer", "statistics", "data", "status"].some((key) => changed.has(key))) this.explain();
  }

  /** What the colours of the layer mean. */
  explain() {
    const { state, data } = this.app;
    this.legend.hidden = !data || state.layer === "mask";
    if (this.legend.hidden) return;
    const isHeat = state.layer === "confidence";
    this.legend.replaceChildren(...(isHeat ? this.heat() : this.differences()));
  }

  heat() {
    const least = percent(1 / Math.max(2, this.app.data.names.length));
    const gradient = `linear-gradient(90deg, ${HEAT.map(hex).join(", ")})`;
    return [
      make("b", { text: T("Confidence of the model") }),
      make("div", { class: "mc-heat", style: `background: ${gradient}` }),
      make(
        "div",
        { class: "mc-ends" },
        make("span", { text: T("{least}, unsure", { least }) }),
        make("span", { text: T("100 %, sure") }),
      ),
    ];
  }

  differences() {
    const { state, data } = this.app;
    const { mine, theirs, confused } = DIFFERENCES;
    const ownName = state.correction ? T("Your correction") : data.ownName;
    const kinds = data.hasBackground
      ? [
          [mine, T("Only in: {name}", { name: ownName })],
          [theirs, T("Only in: {name}", { name: data.otherName })],
          [confused, T("Both, but different classes")],
        ]
      : [[confused, T("Different classes")]];
    const row = ([kind, text]) => {
      const style = `background: ${hex(DIFFERENCE_COLORS[kind])}`;
      const swatch = make("i", { class: "mc-swatch", style });
      return make("div", { class: "mc-kind" }, swatch, make("span", { text }));
    };
    return [
      make("b", { text: T("Differences") }),
      ...kinds.map(row),
      make("small", { text: this.differingShare() }),
    ];
  }

  differingShare() {
    const found = this.app.state.statistics?.agreement;
    if (!found) return "";
    return T("{share} of the pixels differ ({area} px)", {
      share: percent(found.compared ? found.different / found.compared : 0),
      area: count(found.different),
    });
  }
}
