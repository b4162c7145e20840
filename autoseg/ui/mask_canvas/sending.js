// A corrected mask goes to the server, and counts as saved once the server has said it is kept.

/** Masks that were sent, by the key of the sending, until the server has answered. */
const UNANSWERED = (globalThis.autosegUnanswered ??= new Map());
const ANSWER_MS = 60000;

class Sending {
  constructor(app) {
    this.app = app;
  }

  async submit() {
    const { app } = this;
    app.tools.lift();
    const { id, width, height, model } = app.data;
    const mask = app.reading.mask();
    const correction = app.state.correction || new Correction(width, height, mask, model);
    const { changed, edits } = correction;
    const key = `${id} ${Date.now()} ${Math.random()}`;
    app.update({ sending: new Set(app.state.sending).add(id), sent: "" });
    try {
      const blob = await writeGrey(width, height, mask);
      const file = await upload(new File([blob], "mask.png", { type: "image/png" }));
      UNANSWERED.set(key, { id, correction, edits });
      const sent = { path: file.path, meta: { _type: "gradio.FileData" } };
      trigger("corrected", { id, key, mask: sent, changed_px: changed });
      setTimeout(() => UNANSWERED.delete(key) && this.show(id, "failed"), ANSWER_MS);
    } catch (error) {
      console.warn(error);
      this.show(id, "failed");
    }
  }

  /** The server's word on a mask that was sent; what was drawn since then is still unsaved. */
  answered() {
    const { answer } = props;
    const sent = UNANSWERED.get(answer?.key);
    if (!sent) return;
    UNANSWERED.delete(answer.key);
    const { id, correction, edits } = sent;
    const isKept = !answer.problem;
    if (isKept && correction.edits === edits) {
      correction.saved = true;
      if (DRAFTS.get(id) === correction) DRAFTS.delete(id);
    }
    this.show(id, isKept ? "yes" : "refused", answer.problem || "");
  }

  show(id, sent, problem = "") {
    const { app } = this;
    const sending = new Set(app.state.sending);
    sending.delete(id);
    const isShown = app.data?.id === id;
    const isGone = isShown && sent === "yes" && !DRAFTS.has(id);
    const restored = app.state.restored && !isGone;
    app.update({ sending, restored, ...(isShown ? { sent, problem } : {}) });
  }
}
