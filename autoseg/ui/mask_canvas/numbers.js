// Numbers as people read them.
const NUMBERS = new Intl.NumberFormat(LANGUAGE === "zh" ? "zh-CN" : "en");
const count = (number) => NUMBERS.format(number);

/** A share in [0, 1] as people read it: small ones keep a digit, none that exists reads 0. */
function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value < 10 && value > 0 ? value.toFixed(1) : Math.round(value)} %`;
}
