// Texts in the language of the page; English is the key.
const CHINESE = document.documentElement.lang.toLowerCase().startsWith("zh");

function T(text, values = {}) {
  const said = (CHINESE && FIXED.texts && FIXED.texts.zh && FIXED.texts.zh[text]) || text;
  return said.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

const NUMBERS = new Intl.NumberFormat(CHINESE ? "zh-CN" : "en");
const count = (number) => NUMBERS.format(number);

/** A share in [0, 1] as people read it: small ones keep a digit, none that exists reads 0. */
function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value < 10 && value > 0 ? value.toFixed(1) : Math.round(value)} %`;
}
