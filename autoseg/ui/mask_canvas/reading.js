// What is where in the image: which class, how sure of it, and what it is called.
class Reading {
  constructor(app) {
    this.app = app;
    this.derived = null; // The last mask that was made by a threshold.
  }

  get thresholding() {
    const { data, state } = this.app;
    const isKnown = data?.twoClasses && data.confidence;
    return Boolean(isKnown && !state.correction && state.threshold !== 0.5);
  }

  get least() {
    return Math.round(255 * this.app.state.threshold);
  }

  /** The mask as it stands: corrected, or by the threshold, or the model's own. */
  mask() {
    const { state, data } = this.app;
    if (state.correction) return state.correction.mask;
    if (!this.thresholding) return data.model;
    if (this.derived?.threshold !== state.threshold || this.derived.of !== data) {
      const { model, confidence, width, height } = data;
      const mask = thresholdedMask(model, confidence, this.least, width, height);
      this.derived = { threshold: state.threshold, of: data, mask };
    }
    return this.derived.mask;
  }

  classAt(pixel) {
    const { state, data } = this.app;
    if (!this.thresholding) return (state.correction?.mask || data.model)[pixel.i];
    return thresholdedIndex(data.model[pixel.i], this.confidenceAt(pixel), this.least);
  }

  confidenceAt({ x, y }) {
    const { confidence, width, height } = this.app.data;
    const row = Math.floor(((y + 0.5) * confidence.height) / height);
    const column = Math.floor(((x + 0.5) * confidence.width) / width);
    return confidence.data[row * confidence.width + column];
  }

  /** The model's probability of a class at a pixel; null where it is not known. */
  probabilityAt(pixel, index) {
    const { confidence, model, names } = this.app.data;
    if (!confidence || index === IGNORED) return null;
    const share = this.confidenceAt(pixel) / 255;
    if (model[pixel.i] === index) return share;
    return names.length === 2 ? 1 - share : null;
  }

  className(index) {
    if (index === IGNORED) return T("Leave out");
    return this.app.data.names[index] ?? T("Class {index}", { index });
  }
}
