// Where pictures are dropped: files, or pictures of this page.

import { classes, html, useSignal } from "../lib/html.js";
import { ask, pictureUrl } from "../lib/api.js";
import { Icon } from "./icon.js";
import { filesOf } from "./slots.js";
import { attempt } from "./toasts.js";

/** Where pictures are dropped or chosen. @param {{label: string, small?: boolean, onFiles: (files: Blob[]) => void}} properties */
export function Drop({ label, small = false, onFiles }) {
  const over = useSignal(false);
  /** @param {DragEvent} event */
  const dropped = async (event) => {
    event.preventDefault();
    over.value = false;
    const own = event.dataTransfer?.getData("application/x-salon-picture");
    const files = filesOf(event.dataTransfer);
    if (own) {
      const { job, index } = JSON.parse(own);
      const blob = await attempt(async () => (await ask(pictureUrl(job, index))).blob());
      if (blob) onFiles([blob]);
    } else onFiles(files);
  };
  return html`<label class=${classes("drop", small && "small", over.value && "over")} onDrop=${dropped}
    onDragOver=${(/** @type {DragEvent} */ event) => { event.preventDefault(); over.value = true; }} onDragLeave=${() => { over.value = false; }}>
    <${Icon} name=${small ? "plus" : "picture"} /><span>${small ? "Add" : label}</span>
    <input type="file" class="hidden" accept="image/*" multiple aria-label=${label} onChange=${(/** @type {Event} */ event) => { const input = /** @type {HTMLInputElement} */ (event.target); onFiles([...(input.files ?? [])]); input.value = ""; }} />
  </label>`;
}
