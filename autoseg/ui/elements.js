// Shared by our components: texts in the reader's language, and elements made of them.

const LANGUAGE = (document.documentElement.lang || "en").slice(0, 2).toLowerCase();

/** English text, with {name} where a value goes, in the reader's language. */
function T(text, values = {}) {
  const said = FIXED.texts?.[LANGUAGE]?.[text] || text;
  return said.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/** An element: attributes by name, "on*" are listeners, "text" and children are never markup. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
