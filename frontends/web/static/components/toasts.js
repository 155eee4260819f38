// Short messages at the edge, which go by themselves and are read out.

import { html, signal, useLayoutEffect, useRef } from "../lib/html.js";
import { Icon } from "./icon.js";

const STAY_MS = 6000;

/** @typedef {{id: number, text: string, kind: "note" | "error", act?: {label: string, run: () => void}}} Toast */

const shown = signal(/** @type {Toast[]} */ ([]));
let last = 0;

/** @param {number} id */
const drop = (id) => {
  shown.value = shown.peek().filter((each) => each.id !== id);
};

/**
 * Tell something. `act`: what can be done about it.
 * @param {string} text
 * @param {{kind?: "note" | "error", act?: {label: string, run: () => void}}} [options]
 */
export function tell(text, { kind = "note", act } = {}) {
  last += 1;
  const id = last;
  shown.value = [...shown.peek().filter((each) => each.text !== text), { id, text, kind, ...(act && { act }) }].slice(-4);
  setTimeout(() => drop(id), kind === "error" ? 2 * STAY_MS : STAY_MS);
}

/** Tell of an error. @param {unknown} error */
export function tellError(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  tell(error instanceof Error ? error.message : String(error), { kind: "error" });
}

/** Run what may fail, and tell if it does. @template T @param {() => Promise<T>} work @returns {Promise<T | undefined>} */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    tellError(error);
    return undefined;
  }
}

/** Where they are shown: once on the page, above all else, also above what was opened meanwhile. */
export function Toasts() {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  useLayoutEffect(() => {
    if (box.current?.matches(":popover-open")) box.current.hidePopover();
    box.current?.showPopover();
  }, [shown.value]);
  return html`<div ref=${box} class="toasts" popover="manual" role="status" aria-live="polite">
    ${shown.value.map(
      ({ id, text, kind, act }) => html`<div key=${id} class="toast" data-kind=${kind}>
        <span>${text}</span>
        ${act && html`<button class="quiet" onClick=${() => { act.run(); drop(id); }}>${act.label}</button>`}
        <button class="round" aria-label="Close the message" onClick=${() => drop(id)}><${Icon} name="close" /></button>
      </div>`,
    )}
  </div>`;
}
