// Two pictures one above the other, with a line between them that is moved by hand or by arrows.

import { html, useSignal } from "../lib/html.js";

/** @param {{before: string, after: string, width: number, height: number}} properties */
export function Compare({ before, after, width, height }) {
  const at = useSignal(50);
  return html`<div class="compare" style=${{ aspectRatio: `${width} / ${height}`, "--ratio": width / height }}>
    <img src=${after} alt="After" draggable=${false} />
    <img src=${before} alt="Before" draggable=${false} style=${{ clipPath: `inset(0 ${100 - at.value}% 0 0)` }} />
    <span class="compare-line" style=${{ left: `${at.value}%` }} aria-hidden="true"></span>
    <input type="range" min="0" max="100" value=${at.value} aria-label="How much of the picture before is shown, in per cent"
      onInput=${(/** @type {Event} */ event) => { at.value = Number(/** @type {HTMLInputElement} */ (event.target).value); }} />
  </div>`;
}
