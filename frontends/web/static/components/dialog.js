// Dialogs: the browser's own, which keeps the focus inside and closes by Escape.

import { html, signal, useEffect, useRef } from "../lib/html.js";
import { Icon } from "./icon.js";

/** @typedef {{title: string, text: string, act: string, danger: boolean, answer: (yes: boolean) => void}} Question */

const question = signal(/** @type {Question | null} */ (null));

/**
 * A dialog with a title. It is open while it is drawn; `onClose` takes it away.
 * @param {{title: string, onClose: () => void, class?: string, children?: any}} properties
 */
export function Dialog({ title, onClose, class: name = "", children }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    return () => before instanceof HTMLElement && before.focus({ preventScroll: true });
  }, []);
  return html`<dialog
    ref=${element}
    class=${`dialog ${name}`}
    aria-label=${title}
    onClose=${onClose}
    onClick=${(/** @type {MouseEvent} */ event) => event.target === element.current && element.current?.close()}
  >
    <header class="dialog-head">
      <h2>${title}</h2>
      <button class="round" aria-label="Close" onClick=${() => element.current?.close()}><${Icon} name="close" /></button>
    </header>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}

/**
 * Ask for a yes before what cannot be taken back.
 * @param {string} title
 * @param {string} text
 * @param {string} act label of the yes
 * @returns {Promise<boolean>}
 */
export function confirm(title, text, act, danger = true) {
  question.peek()?.answer(false);
  return new Promise((resolve) => {
    question.value = { title, text, act, danger, answer: resolve };
  });
}

/** Where questions are shown: once on the page. */
export function Questions() {
  const asked = question.value;
  if (asked === null) return null;
  /** @param {boolean} yes */
  const answer = (yes) => {
    question.value = null;
    asked.answer(yes);
  };
  return html`<${Dialog} title=${asked.title} class="small" onClose=${() => question.value && answer(false)}>
    <p>${asked.text}</p>
    <div class="row end">
      <button onClick=${() => answer(false)}>Cancel</button>
      <button class=${asked.danger ? "danger" : "primary"} autofocus onClick=${() => answer(true)}>${asked.act}</button>
    </div>
  <//>`;
}
