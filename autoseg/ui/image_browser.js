// Pages of small images. One of them is the tab stop; arrow keys move between them.

const root = element.querySelector(".ib");
let chosen = null;

const browse = (page, sort) => trigger("browse", { dataset: props.value.dataset, page, sort });

function enlarge(item, button) {
  chosen = item.position;
  for (const other of root.querySelectorAll("[aria-pressed]")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  trigger("enlarge", { dataset: props.value.dataset, position: item.position });
  const large = FIXED.large && document.querySelector(FIXED.large);
  if (large) large.scrollIntoView({ block: "nearest" });
}

function tile(item, isFirst) {
  const picture = item.thumb
    ? make("img", { src: item.thumb.url, alt: "", loading: "lazy", draggable: "false" })
    : make("span", { class: "gone" }, T("The file is gone."));
  const button = make(
    "button",
    {
      type: "button", class: "tile", tabindex: isFirst ? 0 : -1,
      "aria-pressed": String(item.position === chosen), title: item.name,
    },
    make("span", { class: "box" }, picture),
    make("span", { class: "name" }, item.name),
    item.note ? make("span", { class: "note" }, item.note) : null,
  );
  button.addEventListener("click", () => enlarge(item, button));
  return button;
}

function move(event) {
  const tiles = [...root.querySelectorAll(".tile")];
  const at = tiles.indexOf(document.activeElement);
  if (at < 0) return;
  const columns = tiles.filter((other) => other.offsetTop === tiles[0].offsetTop).length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  let to = event.key in steps ? at + steps[event.key] : null;
  if (event.key === "Home") to = 0;
  if (event.key === "End") to = tiles.length - 1;
  if (to === null || !tiles[to]) return;
  event.preventDefault();
  tiles[at].tabIndex = -1;
  tiles[to].tabIndex = 0;
  tiles[to].focus();
}

function orderField(value) {
  const field = make("select", {});
  for (const [name, text] of value.sorts) {
    field.append(make("option", { value: name, selected: name === value.sort }, text));
  }
  field.addEventListener("change", () => browse(0, field.value));
  return make("label", {}, make("span", {}, T("Order")), field);
}

function pager(value) {
  const button = (text, page, isOff) => make(
    "button", { type: "button", disabled: isOff, onclick: () => browse(page, value.sort) }, text,
  );
  const last = value.page + 1 >= value.pages;
  return make(
    "div", { class: "pager" },
    button(T("Back"), value.page - 1, value.page === 0),
    make("span", { "aria-live": "polite" },
      T("Page {page} of {pages}", { page: value.page + 1, pages: value.pages })),
    button(T("Next"), value.page + 1, last),
  );
}

function show() {
  const value = props.value;
  const hadFocus = root.contains(document.activeElement);
  root.replaceChildren();
  if (!value) return;
  const grid = make(
    "div",
    {
      class: "grid", role: "group", "aria-label": T("Images with their masks"), onkeydown: move,
    },
    ...value.items.map((item, place) => tile(item, place === 0)),
  );
  root.append(
    make("div", { class: "head" },
      make("b", {}, T("{total} images with their masks", { total: value.total.toLocaleString() })),
      orderField(value),
      value.pages > 1 ? pager(value) : null),
    grid,
  );
  if (hadFocus) root.querySelector(".tile")?.focus({ preventScroll: true });
}

show();
watch("value", show);
