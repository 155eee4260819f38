// Many rows of one height, of which only those in sight are drawn. The window scrolls, so that phones hide their bars.

import { html, useLayoutEffect, useRef, useSignal } from "../lib/html.js";

const BEYOND = 3; // rows that are drawn above and below what is seen

/**
 * @param {{count: number, rowHeight: number, render: (row: number) => any, onRange?: (first: number, end: number) => void, label?: string}} properties
 *   `rowHeight`: pixels, with the gap; `render`: a row by its number; `onRange`: told which rows are drawn, to load them
 */
export function VirtualRows({ count, rowHeight, render, onRange, label }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const range = useSignal({ first: 0, end: Math.min(count, 12) });
  useLayoutEffect(() => {
    const look = () => {
      if (!box.current) return;
      const top = -box.current.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(top / rowHeight) - BEYOND);
      const end = Math.max(first, Math.min(count, Math.ceil((top + innerHeight) / rowHeight) + BEYOND));
      if (first === range.peek().first && end === range.peek().end) return;
      range.value = { first, end };
      onRange?.(first, end);
    };
    look();
    onRange?.(range.peek().first, range.peek().end);
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [count, rowHeight]);
  const { first, end } = range.value;
  const rows = [];
  for (let row = first; row < Math.min(end, count); row += 1) {
    rows.push(html`<div key=${row} class="virtual-row" style=${{ transform: `translateY(${row * rowHeight}px)`, height: `${rowHeight}px` }}>${render(row)}</div>`);
  }
  return html`<div ref=${box} class="virtual" aria-label=${label} style=${{ height: `${count * rowHeight}px` }}>${rows}</div>`;
}
