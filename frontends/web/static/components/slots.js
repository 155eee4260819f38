// Pictures in the imagine bar: dropped, pasted or chosen, each with what it is for.

import { html, useRef } from "../lib/html.js";
import * as wish from "../lib/wish.js";
import { Icon } from "./icon.js";

export const ROLES = [
  { role: "prompt", label: "Prompt", title: "What is in it is part of the prompt" },
  { role: "style", label: "Style", title: "Draw as this is drawn" },
  { role: "omni", label: "Omni", title: "The model looks at it while it draws (FLUX.1 Kontext, FLUX.2)" },
  { role: "start", label: "Start", title: "Begin with this picture, and change it" },
];

/** Return the pictures among what was dropped or pasted. @param {DataTransfer | null} transfer */
export const filesOf = (transfer) => [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));

export function Slots() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  /** @param {Event} event */
  const picked = (event) => {
    const element = /** @type {HTMLInputElement} */ (event.target);
    for (const file of element.files ?? []) void wish.addFile(file);
    element.value = "";
  };
  return html`<div class="slots">
    <button type="button" class="round add" aria-label="Add a picture" title="Add a picture: prompt, style, omni reference or start; or drop or paste one" onClick=${() => input.current?.click()}>
      <${Icon} name="picture" />
    </button>
    <input ref=${input} type="file" accept="image/*" multiple hidden onChange=${picked} />
    ${wish.slots.value.map(
      (slot) => html`<figure key=${slot.id} class="slot" data-state=${slot.failed ? "failed" : slot.digest ? "ready" : "coming"}>
        <img src=${slot.url} alt=${slot.label} />
        <select aria-label=${`What ${slot.label} is for`} value=${slot.role}
          onChange=${(/** @type {Event} */ event) => wish.setRole(slot.id, /** @type {any} */ (event.target).value)}>
          ${ROLES.map(({ role, label, title }) => html`<option key=${role} value=${role} title=${title}>${label}</option>`)}
        </select>
        <button type="button" class="round small" aria-label=${`Leave out ${slot.label}`} onClick=${() => wish.dropSlot(slot.id)}>×</button>
        ${slot.recipe && html`<button type="button" class="tiny recipe" title="It is one of Salon's: write its prompt, seed and size into the bar" onClick=${() => wish.useRecipe(slot)}>Its recipe</button>`}
        ${slot.failed && html`<figcaption class="error" role="alert">${slot.failed}</figcaption>`}
      </figure>`,
    )}
  </div>`;
}
