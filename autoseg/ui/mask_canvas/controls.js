// Icons and small controls.

const ICONS = {
  eye: "M2 12s3.6-7 10-7 10 7 10 7-3.6 7-10 7-10-7-10-7z M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6",
  hidden:
    "M3 3l18 18 M10.6 5.1A10 10 0 0 1 12 5c6.4 0 10 7 10 7a18 18 0 0 1-3 3.8 " +
    "M6.5 6.6A17 17 0 0 0 2 12s3.6 7 10 7c1.8 0 3.3-.5 4.6-1.2 M9.9 9.9a3 3 0 0 0 4.2 4.2",
  plus: "M12 5v14 M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5 M20 9V4h-5 M4 15v5h5 M20 15v5h-5",
  full: "M14 4h6v6 M10 20H4v-6 M20 4l-7 7 M4 20l7-7",
  download: "M12 4v11 M7 11l5 5 5-5 M5 20h14",
  brush: "M20 4c-6 3-9 6-11 9 M9 13c2 0 3 1 3 3 M9 13c-3 0-4 2-4 4 0 1-1 2-2 2 2 2 9 2 9-3",
  eraser: "M4 15l9-9 7 7-7 7H8z M9 10l7 7 M13 20h8",
  polygon: "M5 8l8-4 7 6-3 9H7z",
  fill:
    "M4 12l8-8 8 8-7 7a1.5 1.5 0 0 1-2 0z M4 12h16 " +
    "M20.5 16s1.5 2 1.5 3a1.5 1.5 0 0 1-3 0c0-1 1.5-3 1.5-3",
  undo: "M8 5L4 9l4 4 M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "M16 5l4 4-4 4 M20 9H10a6 6 0 0 0 0 12h3",
  close: "M6 6l12 12 M18 6L6 18",
  keys: "M3 7h18v10H3z M7 11h.01 M11 11h.01 M15 11h.01 M8 14h8",
  check: "M5 12l5 5 9-10",
};

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("mc-icon");
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("d", ICONS[name]);
  svg.append(line);
  return svg;
}

/** A button with an icon, a name for those who do not see it, and a text if there is room. */
function button(iconName, name, onclick, { text = "", kind = "", keys = null } = {}) {
  const title = keys ? `${name} (${keys})` : name;
  return make(
    "button",
    { type: "button", class: `mc-button ${kind}`, "aria-label": name, title, onclick },
    iconName ? icon(iconName) : null,
    text ? make("span", { text }) : null,
  );
}

/** One of several, as buttons side by side. */
class Choice {
  constructor(name, options, onpick) {
    this.buttons = new Map();
    this.node = make("div", { class: "mc-choice", role: "group", "aria-label": name });
    for (const { key, text, iconName = null, keys = null } of options) {
      const made = button(iconName, text, () => onpick(key), { text, keys });
      this.buttons.set(key, made);
      this.node.append(made);
    }
  }

  show(key) {
    for (const [own, node] of this.buttons) node.setAttribute("aria-pressed", String(own === key));
  }
}

/** A slider with its name before it and its value after it. */
class Slider {
  constructor(name, { min, max, step, say, oninput }) {
    this.say = say;
    this.input = make("input", { type: "range", min, max, step, "aria-label": name });
    this.value = make("output", { class: "mc-value" });
    this.input.addEventListener("input", () => oninput(Number(this.input.value)));
    const title = make("span", { text: name });
    this.node = make("label", { class: "mc-slider" }, title, this.input, this.value);
  }

  show(value) {
    if (Number(this.input.value) !== value) this.input.value = value;
    const said = this.say(value);
    this.value.textContent = said;
    this.input.setAttribute("aria-valuetext", said);
  }
}
