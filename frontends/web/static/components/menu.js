// A button that opens a menu: arrows go through it, Escape and a click beside it close it.

import { html, useId, useRef, useSignal } from "../lib/html.js";
import { Icon } from "./icon.js";

/** @typedef {{id: string, label: string, icon?: string, key?: string, danger?: boolean, run: () => void}} Item */

/**
 * @param {{label: string, icon?: string, text?: string, items: (Item | null)[] | (() => (Item | null)[]), class?: string, onOpen?: () => void}} properties
 *   null in `items` is a line between groups; a function is asked when the menu opens
 */
export function Menu({ label, icon = "more", text = "", items, class: name = "round", onOpen }) {
  const id = useId();
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const list = useRef(/** @type {HTMLDivElement | null} */ (null));
  const open = useSignal(false);

  /** @param {Event & {newState?: string}} event */
  const toggled = (event) => {
    open.value = event.newState === "open";
    if (open.value) onOpen?.();
    if (!open.value || !button.current || !list.current) return;
    const box = button.current.getBoundingClientRect();
    const menu = list.current;
    requestAnimationFrame(() => {
      const { offsetWidth: wide, offsetHeight: high } = menu;
      const below = box.bottom + high + 8 < innerHeight;
      menu.style.left = `${Math.max(8, Math.min(box.right - wide, innerWidth - wide - 8))}px`;
      menu.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - high - 4)}px`;
      /** @type {HTMLElement | null} */ (menu.querySelector("button"))?.focus({ preventScroll: true });
    });
  };
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    const buttons = [...(list.current?.querySelectorAll("button") ?? [])];
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    event.stopPropagation();
    if (to === undefined) return;
    event.preventDefault();
    buttons[(to + buttons.length) % buttons.length]?.focus();
  };
  /** @param {Item} item */
  const choose = (item) => {
    list.current?.hidePopover();
    button.current?.focus({ preventScroll: true });
    item.run();
  };
  const found = open.value ? (typeof items === "function" ? items() : items) : [];
  return html`<button
      ref=${button} class=${name} type="button" aria-label=${label} title=${label}
      popovertarget=${id} aria-haspopup="menu" aria-expanded=${open.value}
    ><${Icon} name=${icon} />${text && html`<span>${text}</span>`}</button>
    <div ref=${list} id=${id} class="menu" popover="auto" role="menu" aria-label=${label} onToggle=${toggled} onKeyDown=${pressed}>
      ${found.map((item, index) =>
        item === null
          ? html`<hr key=${index} />`
          : html`<button key=${item.id} type="button" role="menuitem" class=${item.danger ? "danger-text" : ""} onClick=${() => choose(item)}>
              <${Icon} name=${item.icon ?? "more"} /><span>${item.label}</span>${item.key && html`<kbd>${item.key}</kbd>`}
            </button>`,
      )}
    </div>`;
}
