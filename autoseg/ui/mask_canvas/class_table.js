// The classes: shown or not, their colours, areas, shares, confidence; in correcting, the palette.
const FEW_CLASSES = 8;

class ClassTable {
  constructor(app) {
    this.app = app;
    this.body = make("tbody");
    this.head = make("tr");
    this.all = make("button", {
      type: "button",
      class: "mc-link",
      onclick: () => app.update({ allClasses: !app.state.allClasses }),
    });
    this.reset = make("button", {
      type: "button",
      class: "mc-link",
      text: T("Reset colours"),
      onclick: () => app.resetColors(),
    });
    const table = make("table", { class: "mc-table" }, make("thead", {}, this.head), this.body);
    this.node = make(
      "div",
      { class: "mc-classes" },
      make("div", { class: "mc-scroll", tabindex: "0", role: "region", "aria-label": T("Classes") }, table),
      make("div", { class: "mc-links" }, this.all, this.reset),
    );
  }

  sync(changed) {
    const { data } = this.app;
    if (!data) return;
    if (changed.has("data")) this.build();
    if (["data", "statistics", "hidden", "colors", "mode", "paint", "allClasses"].some((key) => changed.has(key)))
      this.refresh();
  }

  build() {
    const { data } = this.app;
    const titles = [
      [T("Shown"), "mc-unseen"],
      [T("Colour"), "mc-unseen"],
      [T("Class"), ""],
      [T("Area"), ""],
      ...(data.confidence ? [[T("Confidence"), ""]] : []),
      ...(data.other ? [[T("IoU"), ""]] : []),
    ];
    this.head.replaceChildren(
      ...titles.map(([text, kind]) => make("th", { scope: "col" }, make("span", { class: kind, text }))),
    );
    this.node.parentElement.classList.toggle("wide", Boolean(data.confidence && data.other));
    this.rows = new Map();
    for (const index of [...data.names.keys(), IGNORED]) this.rows.set(index, this.row(index));
    this.body.replaceChildren(...[...this.rows.values()].map((row) => row.node));
  }

  row(index) {
    const { app } = this;
    const name = app.className(index);
    const leftOut = index === IGNORED;
    const row = { cells: {} };
    row.eye = button("eye", T("Show {name}", { name }), () => app.toggleClass(index), { kind: "plain" });
    row.color = make("input", {
      type: "color",
      "aria-label": T("Colour of {name}", { name }),
      oninput: () => app.chooseColor(index, row.color.value),
    });
    row.swatch = make("i", { class: "mc-swatch" });
    row.key = make("kbd", { text: leftOut ? "L" : index < 9 ? String(index + 1) : "", hidden: !leftOut && index > 8 });
    row.name = make(
      "button",
      { type: "button", class: "mc-name", onclick: () => app.pickClass(index) },
      row.key,
      make("span", { text: name }),
    );
    const number = (key) => (row.cells[key] = make("td", { class: "mc-number" }));
    row.node = make(
      "tr",
      {},
      make("td", {}, leftOut ? "" : row.eye),
      make("td", {}, make("label", { class: "mc-color" }, row.swatch, leftOut ? "" : row.color)),
      make("th", { scope: "row" }, row.name),
      number("area"),
      app.data.confidence ? number("sure") : "",
      app.data.other ? number("iou") : "",
    );
    return row;
  }

  refresh() {
    const { data, state } = this.app;
    const found = state.statistics;
    const correcting = state.mode === "correct";
    const many = data.names.length > FEW_CLASSES;
    for (const [index, row] of this.rows) {
      const area = found ? found.areas[index] : 0;
      const there = area > 0 || Boolean(found?.agreement?.theirs[index]);
      row.node.hidden = index === IGNORED ? !(correcting || area) : many && !correcting && !state.allClasses && !there;
      row.node.classList.toggle("mc-absent", !there);
      row.node.classList.toggle("mc-chosen", correcting && state.paint === index);
      this.show(index, row, { area, found, correcting });
    }
    this.all.hidden = !many || correcting;
    this.all.textContent = state.allClasses
      ? T("Only classes in this image")
      : T("All {count} classes", { count: data.names.length });
    this.reset.hidden = state.colors.every((color, index) => color === data.palette[index]);
  }

  show(index, row, { area, found, correcting }) {
    const { state } = this.app;
    const shown = !state.hidden.has(index);
    row.eye.replaceChildren(icon(shown ? "eye" : "hidden"));
    row.eye.setAttribute("aria-pressed", String(shown));
    paintSwatch(row.swatch, this.app, index);
    if (index !== IGNORED) row.color.value = hex(state.colors[index]);
    row.key.classList.toggle("mc-off", !correcting);
    row.name.title = correcting ? T("Paint with this class") : T("Show only this class");
    row.name.setAttribute("aria-pressed", String(correcting ? state.paint === index : this.app.isSolo(index)));
    row.cells.area.replaceChildren(
      found ? percent(area / found.total) : "",
      make("small", { text: T("{area} px", { area: count(area) }) }),
    );
    const share = (value) => (value === null || value === undefined ? "–" : percent(value));
    if (row.cells.sure) row.cells.sure.textContent = index === IGNORED ? "–" : share(found?.confidences[index]);
    if (row.cells.iou) row.cells.iou.textContent = index === IGNORED ? "–" : share(found?.agreement.iou[index]);
  }
}
