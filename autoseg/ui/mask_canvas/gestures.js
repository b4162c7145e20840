// Mouse, pen and fingers on the stage, as what they mean: hover, tap, stroke, pan, zoom.
const TAP_REACH = 6;

class Gestures {
  /** @param meaning hover, leave, tap, press (true: a stroke begins), stroke, lift, cancel, pan,
   *  zoom (true: it did something) and twice, all in CSS pixels of the stage. */
  constructor(stage, meaning) {
    this.stage = stage;
    this.meaning = meaning;
    this.pointers = new Map();
    this.doing = null;
    const listen = (name, run, options) => stage.addEventListener(name, run.bind(this), options);
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.lost);
    listen("pointerleave", () => this.pointers.size || meaning.leave());
    listen("wheel", this.wheel, { passive: false });
    listen("dblclick", (event) => meaning.twice(...this.at(event)));
    listen("contextmenu", (event) => event.preventDefault());
  }

  at(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    this.pointers.set(event.pointerId, this.at(event));
    try {
      this.stage.setPointerCapture(event.pointerId);
    } catch {
      // A pointer that is gone already.
    }
    if (this.pointers.size === 2) {
      if (this.doing === "stroke") this.meaning.cancel();
      this.doing = "pinch";
      this.grip = this.gripNow();
      return;
    }
    if (this.pointers.size > 2) return;
    this.start = this.at(event);
    this.last = this.start;
    const plain = event.button === 0;
    this.doing = plain && this.meaning.press(...this.start) ? "stroke" : plain ? "tap" : "pan";
  }

  move(event) {
    const here = this.at(event);
    if (!this.pointers.has(event.pointerId)) {
      if (event.pointerType !== "touch") this.meaning.hover(...here);
      return;
    }
    this.pointers.set(event.pointerId, here);
    if (this.doing === "pinch") return this.pinch();
    if (this.doing === "stroke") {
      for (const part of event.getCoalescedEvents?.() || []) this.meaning.stroke(...this.at(part));
      this.meaning.stroke(...here);
    }
    const moved = Math.hypot(here[0] - this.start[0], here[1] - this.start[1]);
    if (this.doing === "tap" && moved > TAP_REACH) this.doing = "pan";
    if (this.doing === "pan") {
      this.meaning.pan(here[0] - this.last[0], here[1] - this.last[1]);
      this.last = here;
    }
    if (event.pointerType !== "touch" || this.doing === "stroke") this.meaning.hover(...here);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.doing === "stroke") this.meaning.lift();
    if (this.doing === "tap") this.meaning.tap(...this.start, event.pointerType === "touch");
    this.doing = null;
  }

  lost(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.doing === "stroke") this.meaning.cancel();
    this.doing = null;
  }

  gripNow() {
    const [one, two] = [...this.pointers.values()];
    return {
      x: (one[0] + two[0]) / 2,
      y: (one[1] + two[1]) / 2,
      reach: Math.max(1, Math.hypot(one[0] - two[0], one[1] - two[1])),
    };
  }

  pinch() {
    if (this.pointers.size !== 2) return;
    const grip = this.gripNow();
    this.meaning.pan(grip.x - this.grip.x, grip.y - this.grip.y);
    this.meaning.zoom(grip.reach / this.grip.reach, grip.x, grip.y);
    this.grip = grip;
  }

  /** Zooms; where there is nothing to zoom out of, the page scrolls as it always does. */
  wheel(event) {
    const lines = event.deltaMode === 1 ? 33 : 1;
    const [dx, dy] = [event.deltaX * lines, event.deltaY * lines];
    if (event.shiftKey) {
      this.meaning.pan(-(dx || dy), 0);
      event.preventDefault();
      return;
    }
    const factor = Math.exp(-Math.max(-120, Math.min(120, dy)) * (event.ctrlKey ? 0.01 : 0.0022));
    if (this.meaning.zoom(factor, ...this.at(event)) || event.ctrlKey) event.preventDefault();
  }
}
