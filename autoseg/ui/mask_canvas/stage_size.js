// The size of the stage: that of its place on the page, or the full screen.
class StageSize {
  constructor(app) {
    this.app = app;
    this.observer = new ResizeObserver(() => {
      if (app.root.isConnected) return this.measure();
      this.observer.disconnect();
      app.end();
    });
    this.observer.observe(app.stage);
    this.watchRatio();
    app.root.addEventListener("fullscreenchange", () => {
      app.root.classList.toggle("mc-full", document.fullscreenElement === app.root);
    });
  }

  measure() {
    const { app } = this;
    const { clientWidth: width, clientHeight: height } = app.stage;
    if (!width || !height) return;
    app.painter.resize(width, height);
    app.view.resize(width, height);
    app.redraw(true);
  }

  /** The page was zoomed, or moved to a screen with pixels of another size. */
  watchRatio() {
    const ratio = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    const changed = () => {
      if (!this.app.root.isConnected) return;
      this.measure();
      this.watchRatio();
    };
    ratio.addEventListener("change", changed, { once: true });
  }

  get isFull() {
    return this.app.root.classList.contains("mc-full");
  }

  async toggleFull() {
    const { root } = this.app;
    const full = !this.isFull;
    root.classList.toggle("mc-full", full);
    try {
      if (full) await root.requestFullscreen();
      else if (document.fullscreenElement) await document.exitFullscreen();
    } catch {
      // A phone that gives no full screen: the class alone fills the window.
    }
  }
}
