// Many rows of one height, of which only those in sight are drawn. The window scrolls, so that phones hide their bars.

import { html, useLayoutEffect, useRef, useSignal } from "../lib/html.js";

const BEYOND = 3; // rows that are drawn above and below what is seen
const FAST = 5; // pixels a millisecond: nobody sees a picture that passes so fast
const CALM_MS = 90; // without scrolling, after which it has come to rest

/** @typedef {import("@preact/signals-core").Signal<boolean>} Hurry whether rows fly past */

/**
 * @param {{count: number, rowHeight: number, render: (row: number, hurry: Hurry) => any, onRange?: (first: number, end: number) => void, label?: string}} properties
 *   `rowHeight`: pixels, with the gap; `render`: draws a row by its number, once, and again only when it is another
 *   function; `onRange`: told which rows are drawn, to load them
 */
export function VirtualRows({ count, rowHeight, render, onRange, label }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const range = useSignal({ first: 0, end: 0 });
  const hurry = useSignal(false);
  const drawn = useRef({ render, rows: /** @type {Map<number, any>} */ (new Map()) });
  useLayoutEffect(() => {
    let [before, at] = [scrollY, performance.now()];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let calm;
    const look = () => {
      if (!box.current) return;
      const top = -box.current.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(top / rowHeight) - BEYOND);
      const end = Math.max(first, Math.min(count, Math.ceil((top + innerHeight) / rowHeight) + BEYOND));
      if (first === range.peek().first && end === range.peek().end) return;
      range.value = { first, end };
      onRange?.(first, end);
    };
    const scrolled = () => {
      const now = performance.now();
      const far = Math.abs(scrollY - before);
      if (far > innerHeight && now - at > CALM_MS) hurry.value = false; // a jump, by a key: what is there now stays
      else hurry.value = far / Math.max(8, now - at) > FAST;
      [before, at] = [scrollY, now];
      clearTimeout(calm);
      if (hurry.peek()) calm = setTimeout(() => { hurry.value = false; }, CALM_MS);
      look();
    };
    look();
    onRange?.(range.peek().first, range.peek().end);
    addEventListener("scroll", scrolled, { passive: true });
    addEventListener("resize", look);
    return () => {
      clearTimeout(calm);
      hurry.value = false;
      removeEventListener("scroll", scrolled);
      removeEventListener("resize", look);
    };
  }, [count, rowHeight]);
  const { first, end } = range.value;
  const known = drawn.current.render === render ? drawn.current.rows : new Map();
  const rows = new Map();
  for (let row = first; row < Math.min(end, count); row += 1) {
    rows.set(row, known.get(row) ?? html`<div key=${row} class="virtual-row" style=${{ transform: `translateY(${row * rowHeight}px)`, height: `${rowHeight}px` }}>${render(row, hurry)}</div>`);
  }
  drawn.current = { render, rows };
  return html`<div ref=${box} class="virtual" aria-label=${label} style=${{ height: `${count * rowHeight}px` }}>${[...rows.values()]}</div>`;
}
