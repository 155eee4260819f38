// Explore: everybody's public pictures, newest first, and all that one likes.

import { html, signal, useEffect, useRef } from "../lib/html.js";
import { Names } from "../lib/organize.js";
import { counted } from "../lib/format.js";
import { dropped } from "../lib/store.js";
import { Gallery, chooseNone } from "../components/gallery.js";

const WAIT_MS = 250;
const names = new Names();
dropped.add((job) => names.drop(job));
const search = signal("");
const liked = signal(false);

const load = () => names.load({ whose: liked.peek() ? "all" : "public", liked: liked.peek(), search: search.peek(), states: ["done"] }, liked.peek());

export default function Explore() {
  const timer = useRef(0);
  useEffect(() => {
    chooseNone();
    void load();
  }, [liked.value]);
  /** @param {Event} event */
  const typed = (event) => {
    search.value = /** @type {HTMLInputElement} */ (event.target).value;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => void load(), WAIT_MS);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  const { total, count, failed } = names;
  const found = liked.value ? count.value : total.value.pictures;
  /** @param {string} label @param {boolean} on */
  const tab = (label, on) => html`<button type="button" class="quiet" aria-pressed=${liked.value === on} onClick=${() => { liked.value = on; }}>${label}</button>`;
  return html`<div class="explore">
    <h1 class="hidden">Explore</h1>
    <div class="organize-filters row" role="search" aria-label="Which pictures">
      ${tab("Everybody's", false)}${tab("What I like", true)}
      <input type="search" class="organize-search" aria-label="Search" placeholder="Words of a prompt" value=${search.value} maxlength="500" onInput=${typed} />
    </div>
    <p class="organize-count muted" role="status">${failed.value
      ? html`<span class="error">${failed.value}</span>`
      : total.value.jobs < 0 ? "Looking …" : found ? counted(found, "picture") : liked.value ? "You have liked no picture yet: L likes one." : "Nobody has published a picture yet."}</p>
    <${Gallery} names=${names} selects=${false} />
  </div>`;
}
