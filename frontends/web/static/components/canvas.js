// The editor's canvas: a picture that is moved, scaled and erased, by hand or by keys.

import { html, useEffect, useRef, useSignal } from "../lib/html.js";
import { paintMask } from "../lib/editing.js";

/** @typedef {import("../lib/editing.js").Editing} Editing */
/** @typedef {"move" | "erase" | "restore"} Tool */

const TINTS = ["#e0592a", "#fff4ee"]; // of stripes, which are seen on pictures of any colour
const STEP = 8; // pixels that an arrow key moves by

/** What marks are painted with: stripes as wide as a part of the canvas. @param {number} across its width */
function stripes(across) {
  const side = Math.max(4, 2 * Math.round(across / 60));
  const tile = document.createElement("canvas");
  tile.width = tile.height = side;
  const context = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      context.fillStyle = TINTS[(x + y) % side < side / 2 ? 0 : 1] ?? "";
      context.fillRect(x, y, 1, 1);
    }
  }
  return context.createPattern(tile, "repeat") ?? TINTS[0];
}

/** @param {{editing: Editing, url: string, tool: Tool, brush: number}} properties */
export function EditorCanvas({ editing, url, tool, brush }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const picture = useRef(/** @type {HTMLImageElement | null} */ (null));
  const mask = useRef(document.createElement("canvas"));
  const loaded = useSignal(false);
  const failed = useSignal(false);
  const at = useSignal(/** @type {[number, number] | null} */ (null));
  const drag = useRef(/** @type {{x: number, y: number, before: import("../lib/editing.js").State} | null} */ (null));
  const state = editing.state.value;

  useEffect(() => {
    const image = new Image();
    image.src = url;
    image.decode().then(() => { picture.current = image; loaded.value = true; }, () => { failed.value = true; });
  }, [url]);

  useEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context) return;
    const { width, height, place, strokes } = state;
    if (element.width !== width || element.height !== height) [element.width, element.height] = [width, height];
    if (mask.current.width !== width || mask.current.height !== height) [mask.current.width, mask.current.height] = [width, height];
    context.clearRect(0, 0, width, height);
    if (picture.current) context.drawImage(picture.current, ...place);
    paintMask(/** @type {CanvasRenderingContext2D} */ (mask.current.getContext("2d")), strokes, stripes(width));
    context.globalAlpha = 0.62;
    context.drawImage(mask.current, 0, 0);
    context.globalAlpha = 1;
    if (at.value && tool !== "move") {
      context.beginPath();
      context.arc(...at.value, brush / 2, 0, 2 * Math.PI);
      for (const [colour, wide] of /** @type {[string, number][]} */ ([["#000", 3], ["#fff", 1.4]])) {
        context.strokeStyle = colour;
        context.lineWidth = (wide * width) / Math.max(1, element.clientWidth);
        context.stroke();
      }
    }
  }, [state, loaded.value, at.value, tool, brush]);

  /** @param {PointerEvent} event @returns {[number, number]} */
  const place = (event) => {
    const box = /** @type {HTMLCanvasElement} */ (canvas.current).getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * state.width, ((event.clientY - box.top) / box.height) * state.height];
  };
  /** @param {PointerEvent} event */
  const down = (event) => {
    if (event.button !== 0) return;
    canvas.current?.setPointerCapture(event.pointerId);
    const [x, y] = place(event);
    drag.current = { x, y, before: editing.state.peek() };
    if (tool !== "move") editing.show({ strokes: [...state.strokes, { erase: tool === "erase", size: brush, points: [[x, y]] }] });
  };
  /** @param {PointerEvent} event */
  const moved = (event) => {
    const [x, y] = place(event);
    at.value = [x, y];
    if (!drag.current) return;
    const { before } = drag.current;
    if (tool === "move") {
      const [left, top, wide, high] = before.place;
      editing.show({ place: [Math.round(left + x - drag.current.x), Math.round(top + y - drag.current.y), wide, high] });
    } else {
      const strokes = editing.state.peek().strokes;
      const last = strokes.at(-1);
      if (last) editing.show({ strokes: [...strokes.slice(0, -1), { ...last, points: [...last.points, [x, y]] }] });
    }
  };
  const up = () => {
    if (drag.current) editing.change({}, drag.current.before);
    drag.current = null;
  };
  /** @param {WheelEvent} event */
  const wheel = (event) => {
    if (tool !== "move") return;
    event.preventDefault();
    editing.change({ place: editing.scaled(Math.exp(-event.deltaY / 600)) });
  };
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    const [dx = 0, dy = 0] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dx || dy) {
      if (tool === "move") {
        const [left, top, wide, high] = state.place;
        editing.change({ place: [left + STEP * dx, top + STEP * dy, wide, high] });
      } else {
        const [x, y] = at.value ?? [state.width / 2, state.height / 2];
        const by = Math.max(4, brush / 2);
        at.value = [Math.max(0, Math.min(state.width, x + by * dx)), Math.max(0, Math.min(state.height, y + by * dy))];
      }
    } else if (event.key === " " && tool !== "move") {
      at.value ??= [state.width / 2, state.height / 2];
      editing.change({ strokes: [...state.strokes, { erase: tool === "erase", size: brush, points: [at.value] }] });
    } else if ((event.key === "+" || event.key === "-") && tool === "move") {
      editing.change({ place: editing.scaled(event.key === "+" ? 1.1 : 1 / 1.1) });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const label = tool === "move" ? "Canvas. Arrows move the picture, plus and minus scale it" : "Canvas. Arrows move the brush, Space paints";
  return html`<div class="canvas-frame" style=${{ aspectRatio: `${state.width} / ${state.height}`, "--ratio": state.width / state.height }}>
    <canvas ref=${canvas} class="canvas" data-tool=${tool} tabindex="0" role="application" aria-label=${label}
      onPointerDown=${down} onPointerMove=${moved} onPointerUp=${up} onPointerCancel=${up} onPointerLeave=${() => { at.value = null; }}
      onWheel=${wheel} onKeyDown=${pressed}></canvas>
    ${failed.value && html`<p class="error pad" role="alert">The picture cannot be loaded.</p>`}
  </div>`;
}
