// The slider and the field show one value: the text of a duration.
(() => {
  const root = element.querySelector('.bs');
  const slider = root.querySelector('input[type=range]');
  const field = root.querySelector('input[type=text]');
  const chinese = (document.documentElement.lang || '').startsWith('zh');
  const say = (text) => (chinese && FIXED.zh[text]) || text;
  const unit = { s: 1, m: 60, h: 3600, d: 86400 };

  const seconds = (text) => {
    const compact = String(text || '').toLowerCase().replace(/\s+/g, '');
    if (!/^(\d+(\.\d+)?[smhd])+$/.test(compact)) return Number(compact) || 0;
    let sum = 0;
    for (const [, number, letter] of compact.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)) {
      sum += Number(number) * unit[letter];
    }
    return sum;
  };
  // As `search_form` reads it, whose words stand below the field.
  const holds = (text) => {
    const compact = String(text || '').toLowerCase().replace(/\s+/g, '');
    const written = /^(\d+(\.\d+)?|(\d+(\.\d+)?[smhd])+)$/.test(compact);
    return written && seconds(text) >= FIXED.least && Number.isFinite(seconds(text));
  };
  const words = { h: say("h"), m: say("min") };
  const named = (stop) => stop.replace(/[hm]/g, (letter) => ` ${words[letter]} `).trim();
  const nearest = (text) => {
    const wanted = Math.log(Math.max(1, seconds(text)));
    const far = FIXED.stops.map((stop) => Math.abs(Math.log(seconds(stop)) - wanted));
    return far.indexOf(Math.min(...far));
  };

  const place = (text) => {
    slider.value = nearest(text);
    slider.setAttribute('aria-valuetext', named(FIXED.stops[slider.value]));
    const share = slider.value / (FIXED.stops.length - 1);
    slider.style.setProperty('--bs-share', `${100 * share}%`);
    field.setAttribute('aria-invalid', String(!holds(text)));
  };
  const draw = () => {
    if (document.activeElement !== field) field.value = props.value || '';
    place(field.value);
  };
  const choose = (text) => {
    if (text !== props.value) props.value = text;
  };

  const title = root.querySelector('.bs-title');
  title.textContent = say("Time budget");
  root.querySelector('.bs-info').textContent = say(
    "From the start to the finished model. Slide, or type any time, such as 45m or 1h30m.");
  slider.max = FIXED.stops.length - 1;
  slider.setAttribute('aria-label', say("Time budget, as a slider"));
  field.setAttribute('aria-label', say("Time budget, as text"));
  const marks = root.querySelector('.bs-marks');
  FIXED.stops.forEach((stop, k) => {
    if (!FIXED.marked.includes(stop)) return;
    const mark = document.createElement('span');
    mark.textContent = named(stop);
    mark.style.left = `${(100 * k) / (FIXED.stops.length - 1)}%`;
    marks.append(mark);
  });

  let rest = 0;
  slider.addEventListener('input', () => {
    clearTimeout(rest);
    field.value = FIXED.stops[slider.value];
    place(field.value);
  });
  slider.addEventListener('change', () => choose(FIXED.stops[slider.value]));
  // What is typed counts after a rest, without leaving the field.
  field.addEventListener('input', () => {
    place(field.value);
    clearTimeout(rest);
    rest = setTimeout(() => choose(field.value.trim()), 500);
  });
  field.addEventListener('change', () => {
    clearTimeout(rest);
    choose(field.value.trim());
  });
  watch('value', draw);
  draw();
})();
