// Shared by the small components: texts in the reader's language, and elements made of them.

const language = (document.documentElement.lang || "en").slice(0, 2);

// English text, with {name} where a value goes -> the reader's language.
function T(text, values = {}) {
  const said = ((FIXED.texts || {})[language] || {})[text] || text;
  return said.replace(/\{(\w+)\}/g, (all, name) => (name in values ? values[name] : all));
}

// An element with attributes, listeners ("onclick") and children; texts are never markup.
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
