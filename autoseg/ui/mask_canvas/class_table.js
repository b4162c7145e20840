// The classes: shown or not, their colours, areas, shares, confidence; in correcting, the palette.
const FEW_CLASSES = 8;

/** Parts of the state that the table shows. */
const TABLE_KEYS = ["data", "statistics", "hidden", "colors", "mode", "paint", "allClasses"];

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
      onclick: () => app.actions.resetColors(),
    });
    const scroll = make("div", {
      class: "mc-scroll",
      tabindex: "0",
      role: "region",
      "aria-label": T("Classes"),
    });
    const table = make("table", { class: "mc-table" }, make("thead", {}, this.head), this.body);
    scroll.append(table);
    const links = make("div", { class: "mc-links" }, this.all, this.reset);
    this.node = make("div", { class: "mc-classes" }, scroll, links);
  }

  sync(changed) {
    const { data } = this.app;
    if (!data) return;
    if (changed.has("data") && this.built !== this.wanted) this.build();
    if (TABLE_KEYS.some((key) => changed.has(key))) this.refresh();
  }

  /** What its rows and columns are made for; the next image of a model has the same. */
  get wanted() {
    const { names, packedConfidence, other } = this.app.data;
    return JSON.stringify([names, Boolean(packedConfidence), Boolean(other)]);
  }

  build() {
    const { data } = this.app;
    this.built = this.wanted;
    const titles = [
      [T("Shown"), "mc-unseen"],
      [T("Colour"), "mc-unseen"],
      [T("Class"), ""],
      [T("Area"), ""],
      ...(data.packedConfidence ? [[T("Confidence"), ""]] : []),
      ...(data.other ? [[T("IoU"), ""]] : []),
    ];
    const title = ([text, kind]) =>
      make("th", { scope: "col" }, make("span", { class: kind, text }));
    this.head.replaceChildren(...titles.map(title));
    this.node.parentElement.classList.toggle("wide", Boolean(data.packedConfidence && data.other));
    this.rows = new Map();
    for (const index of [...data.names.keys(), IGNORED]) this.rows.set(index, this.row(index));
    this.body.replaceChildren(...[...this.rows.values()].map((row) => row.node));
  }

  row(index) {
    const { data } = this.app;
    const leftOut = index === IGNORED;
    const row = { cells: {}, ...this.controls(index) };
    const number = (key) => (row.cells[key] = make("td", { class: "mc-number" }));
    const color = make("label", { class: "mc-color" }, row.swatch, leftOut ? "" : row.color);
    row.node = make(
      "tr",
      {},
      make("td", {}, leftOut ? "" : row.eye),
      make("td", {}, color),
      make("th", { scope: "row" }, row.name),
      number("area"),
      data.packedConfidence ? number("sure") : "",
      data.other ? number("iou") : "",
    );
    return row;
  }

  controls(index) {
    const { actions, reading } = this.app;
    const name = reading.className(index);
    const eye = button("eye", T("Show {name}", { name }), () => actions.toggleClass(index), {
      kind: "plain",
    });
    const color = make("input", {
      type: "color",
      "aria-label": T("Colour of {name}", { name }),
      oninput: () => actions.chooseColor(index, color.value),
    });
    const text = index === IGNORED ? "L" : index < 9 ? String(index + 1) : "";
    const key = make("kbd", { text, hidden: !text });
    const pick = { type: "button", class: "mc-name", onclick: () => actions.pickClass(index) };
    return {
      eye,
      color,
      key,
      name: make("button", pick, key, make("span", { text: name })),
      swatch: make("i", { class: "mc-swatch" }),
    };
  }

  refresh() {
    const { data, state } = this.app;
    const found = state.statistics;
    const correcting = state.mode === "correct";
    const many = data.names.length > FEW_CLASSES;
    const all = !many || correcting || state.allClasses;
    for (const [index, row] of this.rows) {
      const area = found ? found.areas[index] : 0;
      const there = area > 0 || Boolean(found?.agreement?.theirs[index]);
      row.node.hidden = !(index === IGNORED ? correcting || area : all || there);
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
    const { state, actions } = this.app;
    const shown = !state.hidden.has(index);
    const picked = correcting ? state.paint === index : actions.isSolo(index);
    row.eye.replaceChildren(icon(shown ? "eye" : "hidden"));
    row.eye.setAttribute("aria-pressed", String(shown));
    paintSwatch(row.swatch, this.app, index);
    if (index !== IGNORED) row.color.value = hex(state.colors[index]);
    row.key.classList.toggle("mc-off", !correcting);
    row.name.title = correcting ? T("Paint with this class") : T("Show only this class");
    row.name.setAttribute("aria-pressed", String(picked));
    row.cells.area.replaceChildren(
      found ? percent(area / found.total) : "",
      make("small", { text: T("{area} px", { area: count(area) }) }),
    );
    const fill = (cell, shares) => {
      const share = index === IGNORED ? null : shares?.[index];
      if (cell) cell.textContent = share === null || share === undefined ? "–" : percent(share);
    };
    fill(row.cells.sure, found?.confidences);
    fill(row.cells.iou, found?.agreement?.iou);
  }
}
