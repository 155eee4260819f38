// The editor's state: where a picture lies on its canvas, and what of it is erased; every change can be undone.

import { computed, signal } from "./html.js";

/** @typedef {{erase: boolean, size: number, points: [number, number][]}} Stroke in pixels of the canvas */
/** @typedef {[number, number, number, number]} Box left, top, width, height */
/** @typedef {{width: number, height: number, place: Box, strokes: Stroke[]}} State */

const MANY = 200;

/** What is edited, and how; one for each picture that is opened. */
export class Editing {
  /** @param {number} width of the picture, in pixels @param {number} height */
  constructor(width, height) {
    this.own = { width, height };
    this.state = signal(/** @type {State} */ ({ width, height, place: [0, 0, width, height], strokes: [] }));
    /** @type {import("@preact/signals-core").Signal<State[]>} */
    this.past = signal([]);
    /** @type {import("@preact/signals-core").Signal<State[]>} */
    this.future = signal([]);
    this.moved = computed(() => {
      const { width: wide, height: high, place } = this.state.value;
      return wide !== width || high !== height || place.join() !== [0, 0, width, height].join();
    });
    this.erased = computed(() => this.state.value.strokes.some((stroke) => stroke.erase));
  }

  /** Change something. `before`: the state to go back to; left out: the present one. @param {Partial<State>} changes @param {State} [before] */
  change(changes, before = this.state.peek()) {
    this.past.value = [...this.past.peek(), before].slice(-MANY);
    this.future.value = [];
    this.state.value = { ...this.state.peek(), ...changes };
  }

  /** Show a change that is not finished, as a picture that is being dragged. @param {Partial<State>} changes */
  show(changes) {
    this.state.value = { ...this.state.peek(), ...changes };
  }

  undo() {
    const before = this.past.peek().at(-1);
    if (!before) return;
    this.future.value = [...this.future.peek(), this.state.peek()];
    this.past.value = this.past.peek().slice(0, -1);
    this.state.value = before;
  }

  redo() {
    const after = this.future.peek().at(-1);
    if (!after) return;
    this.past.value = [...this.past.peek(), this.state.peek()];
    this.future.value = this.future.peek().slice(0, -1);
    this.state.value = after;
  }

  /** Put the picture, as large as it goes, in the middle of a canvas of another size. @param {number} width @param {number} height */
  resize(width, height) {
    const scale = Math.min(width / this.own.width, height / this.own.height);
    const wide = Math.round(this.own.width * scale);
    const high = Math.round(this.own.height * scale);
    this.change({ width, height, place: [Math.floor((width - wide) / 2), Math.floor((height - high) / 2), wide, high], strokes: [] });
  }

  /** Return the place of the picture at another size, around its middle. @param {number} factor @returns {Box} */
  scaled(factor) {
    const [left, top, wide, high] = this.state.peek().place;
    const scale = Math.max(0.1, Math.min(8, (wide / this.own.width) * factor));
    const width = Math.max(1, Math.round(this.own.width * scale));
    const height = Math.max(1, Math.round(this.own.height * scale));
    return [Math.round(left + (wide - width) / 2), Math.round(top + (high - height) / 2), width, height];
  }

  reset() {
    const { width, height } = this.own;
    this.change({ width, height, place: [0, 0, width, height], strokes: [] });
  }
}

/**
 * Draw strokes: white where pixels shall be new, on a canvas that is transparent elsewhere.
 * @param {CanvasRenderingContext2D} context @param {Stroke[]} strokes @param {string | CanvasPattern} [colour]
 */
export function paintMask(context, strokes, colour = "#fff") {
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = colour;
  for (const { erase, size, points } of strokes) {
    context.globalCompositeOperation = erase ? "source-over" : "destination-out";
    context.lineWidth = size;
    context.beginPath();
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    const [x = 0, y = 0] = points[0] ?? [];
    if (points.length === 1) context.lineTo(x + 0.01, y);
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

/** Return a mask as a file: white where pixels shall be new, black elsewhere. @param {State} state @returns {Promise<Blob>} */
export async function maskFile({ width, height, strokes }) {
  const canvas = new OffscreenCanvas(width, height);
  const drawn = new OffscreenCanvas(width, height);
  paintMask(/** @type {any} */ (drawn.getContext("2d")), strokes);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  context.drawImage(drawn, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const value = (pixels.data[at] ?? 0) > 127 ? 255 : 0;
    pixels.data.fill(value, at, at + 3);
  }
  context.putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
