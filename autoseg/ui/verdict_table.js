// The table of mask values. Nothing leaves the page before "Apply" is pressed.

const root = element.querySelector(".vt");
let rows = []; // {key, name, meaning, color, ...} as edited, with the fields of each
let applyButton = null;
let undoButton = null;
let message = null;

function meanings(row) {
  const known = [["class", T("Class")], ["ignore", T("Leave out")]];
  if (row.key === "*") known.push(["nearest", T("Nearest class")]);
  return known;
}

function nameField(row) {
  const field = make("input", {
    type: "text", value: row.name, maxlength: 200, autocomplete: "off", spellcheck: "false",
    placeholder: T("Class name"), "aria-label": T("Class name for {value}", { value: row.raw }),
  });
  field.addEventListener("input", () => {
    row.name = field.value;
    borrowColor(row);
    changed();
  });
  return field;
}

function colorField(row) {
  const field = make("input", {
    type: "color", value: row.color, "aria-label": T("Colour for {value}", { value: row.raw }),
  });
  field.addEventListener("input", () => {
    row.color = field.value;
    for (const other of rows) if (other.key && isSameClass(row, other)) setColor(other, row.color);
    changed();
  });
  return field;
}

function meaningField(row) {
  const field = make("select", { "aria-label": T("Meaning of {value}", { value: row.raw }) });
  for (const [value, text] of meanings(row)) {
    field.append(make("option", { value, selected: value === row.meaning }, text));
  }
  field.addEventListener("change", () => {
    row.meaning = field.value;
    row.fields.name.disabled = row.fields.color.disabled = row.meaning !== "class";
    changed();
  });
  return field;
}

function isSameClass(row, other) {
  return row.meaning === "class" && other.meaning === "class" && row.name.trim() !== ""
    && row.name.trim() === other.name.trim();
}

function setColor(row, color) {
  row.color = color;
  row.fields.color.value = color;
}

/** Values of one class have one colour: that of the class's first value. */
function borrowColor(row) {
  const first = rows.find((other) => other !== row && other.key && isSameClass(row, other));
  if (first) setColor(row, first.color);
}

const edited = () => rows.filter((row) => row.key).map(
  ({ key, name, meaning, color }) => ({ key, name: name.trim(), meaning, color }),
);

let before = "";
let isQuestion = false;
let dataset = ""; // Whose values these are.

function changed() {
  const isNew = JSON.stringify(edited()) !== before;
  applyButton.disabled = !isNew && !isQuestion;
  undoButton.disabled = !isNew;
  const faults = rows.filter((row) => row.key && row.fields.name.hasAttribute("aria-invalid"));
  for (const row of faults) row.fields.name.removeAttribute("aria-invalid");
  message.textContent = "";
}

function apply() {
  const missing = rows.filter((row) => row.key && row.meaning === "class" && !row.name.trim());
  for (const row of missing) row.fields.name.setAttribute("aria-invalid", "true");
  if (missing.length) {
    message.textContent = T("Give each value a class name, or choose to leave it out.");
    missing[0].fields.name.focus();
    return;
  }
  trigger("apply", { dataset, rows: edited() });
}

function cell(title, ...children) {
  return make("td", { role: "cell", "data-title": title }, ...children);
}

function picture(row) {
  if (!row.example) return make("span", { class: "none", "aria-hidden": "true" }, "–");
  return make("img", {
    src: row.example.url, loading: "lazy", width: 96, height: 72,
    alt: T("Where the masks have {value}", { value: row.raw }),
  });
}

function bar(part) {
  const filled = make("i");
  filled.style.width = `${Math.min(100, 100 * part)}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, filled);
}

/** Nothing was decided yet where the user is asked. */
const hasReasons = () => rows.some((row) => row.why);

function line(row) {
  const fields = row.key
    ? { name: nameField(row), color: colorField(row), meaning: meaningField(row) } : {};
  row.fields = fields;
  if (row.key) fields.name.disabled = fields.color.disabled = row.meaning !== "class";
  const why = hasReasons() ? cell(T("Why"), row.why) : null;
  why?.classList.add("why");
  return make(
    "tr", { role: "row" },
    cell(T("Example"), picture(row)),
    make(
      "th", { scope: "row", role: "rowheader", "data-title": T("Value") },
      make("code", {}, row.raw),
    ),
    cell(T("Class"), fields.name || row.name),
    cell(T("Colour"), fields.color || ""),
    cell(T("Meaning"), fields.meaning || ""),
    cell(T("Pixels"), row.share, bar(row.part)),
    cell(T("Images"), row.images),
    why,
  );
}

function buttons(value) {
  const button = (text, onclick) => make("button", { type: "button", onclick }, text);
  applyButton = button(T("Apply"), apply);
  applyButton.classList.add("main");
  undoButton = button(T("Undo my changes"), show);
  const forget = value.forgettable
    ? button(T("Read it as found"), () => trigger("forget", { dataset })) : null;
  message = make("span", { class: "message", role: "alert" });
  return make("div", { class: "actions" }, applyButton, undoButton, forget, message);
}

function table(caption) {
  const titles = [
    T("Example"), T("Value"), T("Class"), T("Colour"), T("Meaning"), T("Pixels"), T("Images"),
  ];
  if (hasReasons()) titles.push(T("Why"));
  const head = titles.map((title) => make("th", { scope: "col", role: "columnheader" }, title));
  return make(
    "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": T("Mask values") },
    make(
      "table", { role: "table" },
      make("caption", {}, caption),
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)),
      make("tbody", { role: "rowgroup" }, ...rows.map(line)),
    ),
  );
}

function show() {
  const value = props.value;
  root.replaceChildren();
  if (!value) return;
  rows = value.rows.map((row) => ({ ...row }));
  isQuestion = value.question;
  dataset = value.dataset;
  if (rows.length) root.append(table(value.caption));
  root.append(buttons(value));
  before = JSON.stringify(edited());
  if (!rows.length) applyButton.hidden = undoButton.hidden = true;
  changed();
}

show();
watch("value", show);
