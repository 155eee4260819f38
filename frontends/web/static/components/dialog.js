// Dialogs: the browser's own, which keeps the focus inside and closes by Escape.

import { html, signal, useLayoutEffect, useRef } from "../lib/html.js";
import { Icon } from "./icon.js";

/**
 * @typedef {{title: string, text: string, act: string, danger: boolean, written?: string, answer: (said: string | null) => void}} Question
 *   `written`: what stands in the field of one that asks for words; `answer`: null: no
 */

const question = signal(/** @type {Question | null} */ (null));

/**
 * A dialog with a title. It is open while it is drawn; `onClose` takes it away.
 * @param {{title: string, onClose: () => void, class?: string, children?: any}} properties
 */
export function Dialog({ title, onClose, class: name = "", children }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useLayoutEffect(() => {
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
  question.peek()?.answer(null);
  return new Promise((resolve) => {
    question.value = { title, text, act, danger, answer: (said) => resolve(said !== null) };
  });
}

/**
 * Ask for some words, such as a new name; null: none.
 * @param {string} title @param {string} label of the field @param {string} written what stands there
 * @param {string} act label of the yes
 * @returns {Promise<string | null>}
 */
export function askWords(title, label, written, act) {
  question.peek()?.answer(null);
  return new Promise((resolve) => {
    question.value = { title, text: label, act, danger: false, written, answer: (said) => resolve(said?.trim() || null) };
  });
}

/** Where questions are shown: once on the page. */
export function Questions() {
  const asked = question.value;
  if (asked === null) return null;
  /** @param {string | null} said */
  const answer = (said) => {
    question.value = null;
    asked.answer(said);
  };
  const { written } = asked;
  return html`<${Dialog} key=${asked} title=${asked.title} class="small" onClose=${() => question.value && answer(null)}>
    <form class="form" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); answer(String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get("words") ?? "")); }}>
      ${written === undefined ? html`<p>${asked.text}</p>` : html`<label class="stack">${asked.text}<input type="text" name="words" value=${written} required maxlength="100" autofocus /></label>`}
      <div class="row end">
        <button type="button" onClick=${() => answer(null)}>Cancel</button>
        <button type="submit" class=${asked.danger ? "danger" : "primary"} autofocus=${written === undefined}>${asked.act}</button>
      </div>
    </form>
  <//>`;
}
