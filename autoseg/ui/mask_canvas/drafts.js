// Corrections that no server keeps yet, within the memory that a browser spares.

/** Memory for all drawings. A phone closes a page that takes much; some browsers say how much
 *  there is. */
const MOST_DRAFT_BYTES = matchMedia("(pointer: coarse)").matches
  ? 1.5e8
  : Math.min(1e9, 1.25e8 * (navigator.deviceMemory || 8));

/** Unsaved corrections by result, also of canvases that are off the page, the newest last. */
const DRAFTS = (globalThis.autosegDrafts ??= new Map());

const draftBytes = () => [...DRAFTS.values()].reduce((sum, draft) => sum + draft.bytes, 0);

/** A drawing is never dropped for room: the steps of the others are, and then a notice asks. */
function keepDraft(id, correction) {
  DRAFTS.delete(id);
  if (correction.saved) return;
  DRAFTS.set(id, correction);
  for (const draft of DRAFTS.values()) {
    if (draftBytes() <= MOST_DRAFT_BYTES) return;
    if (draft !== correction) draft.forgetSteps();
  }
}

if (!globalThis.autosegLeaving) {
  globalThis.autosegLeaving = true;
  addEventListener("beforeunload", (event) => DRAFTS.size && event.preventDefault());
}
