// The slider and the field show one value: the text of a duration.

const root = element.querySelector(".bs");
const slider = root.querySelector("input[type=range]");
const field = root.querySelector("input[type=text]");
const last = FIXED.stops.length - 1;

const UNIT_S = { s: 1, m: 60, h: 3600, d: 86400 };
const WORDS = { h: T("h"), m: T("min") };

const compact = (text) => String(text || "").toLowerCase().replace(/\s+/g, "");

function seconds(text) {
  if (!/^(\d+(\.\d+)?[smhd])+$/.test(compact(text))) return Number(compact(text)) || 0;
  let sum = 0;
  for (const [, number, letter] of compact(text).matchAll(/(\d+(?:\.\d+)?)([smhd])/g)) {
    sum += Number(number) * UNIT_S[letter];
  }
  return sum;
}

/** As `search_form` reads it, whose words stand below the field. */
function holds(text) {
  const isWritten = /^(\d+(\.\d+)?|(\d+(\.\d+)?[smhd])+)$/.test(compact(text));
  return isWritten && seconds(text) >= FIXED.least && Number.isFinite(seconds(text));
}

const named = (stop) => stop.replace(/[hm]/g, (letter) => ` ${WORDS[letter]} `).trim();

function nearest(text) {
  const wanted = Math.log(Math.max(1, seconds(text)));
  const far = FIXED.stops.map((stop) => Math.abs(Math.log(seconds(stop)) - wanted));
  return far.indexOf(Math.min(...far));
}

function place(text) {
  slider.value = nearest(text);
  slider.setAttribute("aria-valuetext", named(FIXED.stops[slider.value]));
  slider.style.setProperty("--bs-share", `${(100 * slider.value) / last}%`);
  field.setAttribute("aria-invalid", String(!holds(text)));
}

function show() {
  if (document.activeElement !== field) field.value = props.value || "";
  place(field.value);
}

function choose(text) {
  if (text !== props.value) props.value = text;
}

function label() {
  root.querySelector(".bs-title").textContent = T("Time budget");
  root.querySelector(".bs-info").textContent = T(
    "From the start to the finished model. Slide, or type any time, such as 45m or 1h30m.",
  );
  slider.max = last;
  slider.setAttribute("aria-label", T("Time budget, as a slider"));
  field.setAttribute("aria-label", T("Time budget, as text"));
  for (const stop of FIXED.marked) {
    const mark = make("span", { text: named(stop) });
    mark.style.left = `${(100 * FIXED.stops.indexOf(stop)) / last}%`;
    root.querySelector(".bs-marks").append(mark);
  }
}

let rest = 0; // Timer: what is typed counts after a rest, without leaving the field.

slider.addEventListener("input", () => {
  clearTimeout(rest);
  field.value = FIXED.stops[slider.value];
  place(field.value);
});
slider.addEventListener("change", () => choose(FIXED.stops[slider.value]));
field.addEventListener("input", () => {
  place(field.value);
  clearTimeout(rest);
  rest = setTimeout(() => choose(field.value.trim()), 500);
});
field.addEventListener("change", () => {
  clearTimeout(rest);
  choose(field.value.trim());
});

label();
show();
watch("value", show);
