// What is under the pointer, and what is selected.
class Hints {
  constructor(app) {
    this.app = app;
    this.swatch = make("i", { class: "mc-swatch" });
    this.title = make("b");
    this.more = make("small");
    this.chip = make("div", { class: "mc-chip", hidden: true }, this.swatch, this.title, this.more);
    this.live = make("div", { class: "mc-unseen", role: "status", "aria-live": "polite" });
    this.place = make("span", { class: "mc-place" });
    this.regionSwatch = make("i", { class: "mc-swatch" });
    this.regionText = make("span");
    const close = button("close", T("Deselect the region"), () => app.update({ region: null }), {
      keys: "Esc",
      kind: "plain",
    });
    const parts = [this.regionSwatch, this.regionText, close];
    this.region = make("div", { class: "mc-region", hidden: true }, ...parts);
  }

  /** The chip beside a point of the stage; nothing beside the image. */
  hover(x, y) {
    const { data, view } = this.app;
    const pixel = data && view.pixelAt(x, y);
    if (!pixel) return this.leave();
    this.fill(pixel);
    this.chip.hidden = this.app.state.mode === "correct"; // It would lie where one wants to draw.
    if (this.chip.hidden) return;
    const { offsetWidth: width, offsetHeight: height } = this.chip;
    const left = x + 16 + width > view.width ? x - 16 - width : x + 16;
    const top = y + 18 + height > view.height ? y - 12 - height : y + 18;
    this.chip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  }

  fill(pixel) {
    const { data, reading } = this.app;
    const index = reading.classAt(pixel);
    const share = reading.probabilityAt(pixel, index);
    paintSwatch(this.swatch, this.app, index);
    const name = reading.className(index);
    this.title.textContent = share === null ? name : `${name}  ${percent(share)}`;
    const other = data.other && data.other.data[pixel.i];
    const differs = data.other && other !== index;
    this.more.textContent = differs ? `${data.otherName}: ${reading.className(other)}` : "";
    this.place.textContent = `${this.title.textContent} · x ${pixel.x} · y ${pixel.y}`;
  }

  /** Say what is under the keyboard's cursor. */
  announce(pixel) {
    this.fill(pixel);
    const [place, more] = [this.place.textContent, this.more.textContent];
    this.live.textContent = more ? `${place}, ${more}` : place;
  }

  leave() {
    this.chip.hidden = true;
    this.place.textContent = "";
  }

  sync(changed) {
    if (!changed.has("region")) return;
    const { region } = this.app.state;
    this.region.hidden = !region;
    if (!region) return;
    paintSwatch(this.regionSwatch, this.app, region.index);
    const facts = [
      this.app.reading.className(region.index),
      T("{area} px", { area: count(region.area) }),
      T("{share} of the image", { share: percent(region.area / this.app.data.model.length) }),
    ];
    this.regionText.textContent = facts.join(" · ");
    this.live.textContent = facts.join(", ");
  }
}

function paintSwatch(node, app, index) {
  const color = app.state.colors[index];
  const isNothing = index === 0 && isBlack(color);
  node.classList.toggle("mc-left-out", index === IGNORED);
  node.classList.toggle("mc-nothing", isNothing);
  node.style.background = index === IGNORED || isNothing || !color ? "" : hex(color);
}
