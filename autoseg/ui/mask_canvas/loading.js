// A value of the component takes the place of the one before it.

/** What of the state belongs to one image, before anything was done to it. */
const FRESH = {
  region: null,
  cursor: null,
  corners: 0,
  threshold: 0.5,
  correction: null,
  restored: false,
  sent: "",
  problem: "",
};

async function unpackConfidence(data) {
  if (data.packedConfidence) data.confidence ??= await greyOf(await data.packedConfidence);
}

/** After the next frame, or soon where the page is hidden and draws none. */
const nextFrame = () =>
  new Promise((resume) => {
    requestAnimationFrame(() => setTimeout(resume));
    setTimeout(resume, 200);
  });

class Loading {
  constructor(app) {
    this.app = app;
    this.turn = 0;
  }

  async load() {
    const value = props.value;
    const turn = (this.turn += 1);
    if (!value) return this.place(null);
    this.app.update({ status: "loading" });
    try {
      await this.read(value, turn);
    } catch (error) {
      console.warn(error);
      if (turn === this.turn) this.app.update({ status: "failed" });
    }
  }

  /** The mask is shown before the confidence is unpacked, unless that is what is looked at. */
  async read(value, turn) {
    const data = await readValue(value);
    const { layer, threshold } = this.app.state;
    if (layer === "confidence" || threshold !== FRESH.threshold) await unpackConfidence(data);
    if (turn !== this.turn) return data.photo.close();
    this.place(data);
    await nextFrame();
    await unpackConfidence(data);
    if (turn !== this.turn) return;
    const { app } = this;
    app.update({ status: "ready" });
    // It may be looked at already: chosen before it was there, it was not painted.
    app.redraw(app.state.layer === "confidence" || app.reading.thresholding);
    app.recount.soon(20);
  }

  unload() {
    this.turn += 1; // What is still being read is too late.
    this.place(null);
  }

  place(data) {
    const { app } = this;
    app.tools.lift(); // An open stroke is one of the former image.
    app.tools.points = [];
    app.reading.derived = null;
    const former = app.data;
    app.data = data;
    if (data) this.show(data, former);
    else app.update({ ...FRESH, status: "empty" });
    former?.photo.close();
  }

  show(data, former) {
    const { app } = this;
    app.update({
      ...FRESH,
      data: data.id,
      statistics: null,
      colors: chosenColors.of(data.names, data.palette),
      ...this.workOn(data, former),
      ...this.lookAt(data, former),
    });
    const { name, width, height } = data;
    if (former?.name !== name || former.width !== width || former.height !== height) {
      app.view.show(width, height);
      app.update({ size: Math.max(4, Math.round(0.03 * Math.max(width, height))) });
    }
    data.photo.makeHalves().then(() => app.redraw(false), () => {});
  }

  /** What was done to the image before: where it comes again, or in a drawing that was kept. */
  workOn(data, former) {
    const { correction, threshold, sent, problem } = this.app.state;
    const again = former?.id === data.id; // With something else to compare it with.
    const draft = (again && correction) || DRAFTS.get(data.id);
    const fits = draft?.mask.length === data.model.length && sameBytes(draft.model, data.model);
    return {
      correction: fits ? draft : null,
      restored: fits && !again,
      ...(again ? { threshold, sent, problem } : {}),
    };
  }

  /** What the reader chose to see and to paint with, as far as this image has it. */
  lookAt(data, former) {
    const { hidden, paint, mode, layer, split } = this.app.state;
    const sameNames = former && former.names.join("\n") === data.names.join("\n");
    const known = { mask: true, confidence: data.packedConfidence, differences: data.other };
    return {
      hidden: sameNames ? hidden : new Set(),
      paint: sameNames ? paint : Math.min(1, data.names.length - 1),
      mode: data.editable ? mode : "view",
      layer: known[layer] ? layer : "mask",
      split: Boolean(split && data.other),
    };
  }
}
