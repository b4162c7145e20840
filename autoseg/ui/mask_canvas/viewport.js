// Where the image stands on the stage: a scale and a corner, in CSS pixels.
const LARGEST_SCALE = 48;

class Viewport {
  constructor() {
    Object.assign(this, { width: 0, height: 0, imageWidth: 1, imageHeight: 1 });
    Object.assign(this, { scale: 1, x: 0, y: 0 });
  }

  get fitScale() {
    const scale = Math.min(this.width / this.imageWidth, this.height / this.imageHeight);
    return Math.min(scale, LARGEST_SCALE / 2) || 1;
  }

  get fitted() {
    return this.scale <= this.fitScale * 1.001;
  }

  /** The stage changed its size: a fitted image stays fitted, another keeps its middle. */
  resize(width, height) {
    const fitted = this.fitted || !this.width;
    const middle = this.toImage(this.width / 2, this.height / 2);
    Object.assign(this, { width, height });
    if (fitted) this.fit();
    else this.centre(...middle);
  }

  show(imageWidth, imageHeight) {
    Object.assign(this, { imageWidth, imageHeight });
    this.fit();
  }

  fit() {
    this.scale = this.fitScale;
    this.keepInside();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [imageX, imageY] = this.toImage(x, y);
    this.scale = Math.min(LARGEST_SCALE, Math.max(this.fitScale, this.scale * factor));
    this.x = x - imageX * this.scale;
    this.y = y - imageY * this.scale;
    this.keepInside();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.keepInside();
  }

  centre(imageX, imageY) {
    this.x = this.width / 2 - imageX * this.scale;
    this.y = this.height / 2 - imageY * this.scale;
    this.keepInside();
  }

  /** Move as little as needed for an image point to stand on the stage. */
  reveal(imageX, imageY, margin = 24) {
    const [x, y] = this.toStage(imageX, imageY);
    const into = (at, size) => Math.min(size - margin, Math.max(margin, at)) - at;
    this.pan(into(x, this.width), into(y, this.height));
  }

  keepInside() {
    const held = (corner, size, room) =>
      size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, corner));
    this.x = held(this.x, this.imageWidth * this.scale, this.width);
    this.y = held(this.y, this.imageHeight * this.scale, this.height);
  }

  toImage(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  toStage(imageX, imageY) {
    return [imageX * this.scale + this.x, imageY * this.scale + this.y];
  }

  /** The pixel under a point of the stage, or null beside the image. */
  pixelAt(x, y) {
    const [column, row] = this.toImage(x, y).map(Math.floor);
    const inside = column >= 0 && row >= 0 && column < this.imageWidth && row < this.imageHeight;
    return inside ? { x: column, y: row, i: row * this.imageWidth + column } : null;
  }
}
