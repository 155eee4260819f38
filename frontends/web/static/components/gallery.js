// A wall of very many pictures: fixed rows, of which those in sight are drawn; chosen by mouse and by keys.

import { classes, html, signal, useCallback, useEffect, useLayoutEffect, useRef, useSignal } from "../lib/html.js";
import { thumbnailUrl } from "../lib/api.js";
import { isCovered, isWriting, keyOf, useKeys } from "../lib/keys.js";
import { like, liked } from "../lib/actions.js";
import { put } from "../lib/store.js";
import { show } from "./lightbox.js";
import { Icon } from "./icon.js";
import { VirtualRows } from "./virtual.js";

/** @typedef {import("../lib/organize.js").Names} Names */
/**
 * @typedef {{clicked: (event: MouseEvent, cell: number) => void, toggle: (cell: number) => void,
 *   extend: (cell: number) => void, like: (cell: number) => void}} Acts
 */

const GAP = 6;
const SIDE = 172; // the least width of a cell, pixels
const SMALL = 108; // on phones
const SETTLE_MS = 120; // scrolling has to rest so long before records are loaded

/** Jobs that are chosen. A job is chosen with all its pictures. */
export const chosen = signal(/** @type {Set<string>} */ (new Set()));

/** @param {string[]} jobs @param {boolean} [on] */
export function choose(jobs, on = true) {
  const next = new Set(chosen.peek());
  for (const job of jobs) {
    if (on) next.add(job);
    else next.delete(job);
  }
  chosen.value = next;
}

export const chooseNone = () => {
  if (chosen.peek().size) chosen.value = new Set();
};

/**
 * @param {{names: Names, onDelete?: () => void, selects?: boolean}} properties
 *   `onDelete`: for the key; `selects`: whether pictures can be chosen
 */
export function Gallery({ names, onDelete, selects = true }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const width = useSignal(0);
  const here = useSignal(0); // the cell that keys go from
  const anchor = useRef(0);
  const timer = useRef(0);
  const seen = useRef({ first: 0, end: 0 }); // rows that are drawn
  const acts = useRef(/** @type {Acts} */ (/** @type {unknown} */ (null)));
  useLayoutEffect(() => {
    const measure = () => {
      width.value = box.current?.clientWidth ?? 0;
    };
    measure();
    const observer = new ResizeObserver(measure);
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const count = names.count.value;
  const least = width.value < 600 ? SMALL : SIDE;
  const columns = Math.max(2, Math.floor((width.value + GAP) / (least + GAP)));
  const side = Math.max(1, Math.floor((width.value - GAP * (columns - 1)) / columns));
  const rows = Math.ceil(count / columns);
  /** @param {number} first @param {number} end */
  const ranged = (first, end) => {
    seen.current = { first, end };
    clearTimeout(timer.current);
    timer.current = setTimeout(() => void names.look(names.between(first * columns, Math.min(count, end * columns))).catch(() => {}), SETTLE_MS);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => ranged(seen.current.first, seen.current.end), [names.news.value]); // others may stand there now

  /** @param {number} cell */
  const open = (cell) => {
    const { job, index } = names.at(cell);
    const from = Math.max(0, cell - 200);
    void names.look(names.between(from, Math.min(count, cell + 200))).then(() => {
      const places = [];
      for (let at = from; at < Math.min(count, cell + 200); at += 1) {
        const place = names.at(at);
        const info = names.infos.get(place.job);
        if (info) places.push({ job: put(info, false), index: place.index });
      }
      const info = names.infos.get(job);
      if (info) show(put(info, false), index, places);
    }, () => {});
  };
  /** Go to a cell, and scroll so that it is seen. @param {number} cell */
  const goTo = (cell) => {
    here.value = Math.max(0, Math.min(count - 1, cell));
    const top = (box.current?.getBoundingClientRect().top ?? 0) + scrollY + Math.floor(here.value / columns) * (side + GAP);
    const bar = /** @type {HTMLElement | null} */ (document.querySelector(".bar"))?.offsetHeight ?? 0;
    if (top - bar - GAP < scrollY) scrollTo(0, top - bar - GAP);
    else if (top + side + 80 > scrollY + innerHeight) scrollTo(0, top + side + 80 - innerHeight);
    requestAnimationFrame(() => requestAnimationFrame(() => {
      /** @type {HTMLElement | null} */ (box.current?.querySelector(`[data-cell="${here.peek()}"]`))?.focus({ preventScroll: true });
    }));
  };
  /** @param {number} cell */
  const toggle = (cell) => {
    const { job } = names.at(cell);
    choose([job], !chosen.peek().has(job));
    anchor.current = cell;
  };
  /** @param {number} cell */
  const extend = (cell) => choose(names.between(Math.min(anchor.current, cell), Math.max(anchor.current, cell) + 1));
  /** @param {number} cell */
  const likeOne = (cell) => {
    const { job, index } = names.at(cell);
    void like({ id: job }, index);
  };
  /** @param {MouseEvent} event @param {number} cell */
  const clicked = (event, cell) => {
    here.value = cell;
    if (selects && event.shiftKey) extend(cell);
    else if (selects && (event.ctrlKey || event.metaKey)) toggle(cell);
    else open(cell);
  };
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (isWriting(event.target) || isCovered() || !count) return;
    const focused = document.activeElement instanceof HTMLElement && box.current?.contains(document.activeElement);
    if (selects && (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a") {
      choose(names.jobs);
      event.preventDefault();
      return;
    }
    const key = event.shiftKey && event.key.startsWith("Arrow") ? event.key : keyOf(event);
    const at = here.peek();
    const page = Math.max(1, Math.floor(innerHeight / (side + GAP)) - 1) * columns;
    const to = {
      ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns, Home: 0, End: count - 1,
      PageDown: Math.min(count - 1, at + page), PageUp: Math.max(0, at - page),
    }[key];
    if (to !== undefined) {
      if (focused && (to < 0 || to >= count)) return;
      goTo(focused ? to : at);
      if (selects && event.shiftKey && focused) extend(to);
      else anchor.current = focused ? to : at;
    } else if (key === "Escape" && chosen.peek().size) chooseNone();
    else if (key === "Delete" && chosen.peek().size && onDelete) onDelete();
    else if (key === " " && focused && selects) toggle(at);
    else if (key === "l" && focused) likeOne(at);
    else return;
    event.preventDefault();
  };
  useKeys(pressed);
  acts.current = { clicked, toggle, extend, like: likeOne };
  const render = useCallback(
    (/** @type {number} */ row, /** @type {import("./virtual.js").Hurry} */ hurry) =>
      html`<${Row} row=${row} names=${names} columns=${columns} side=${side} hurry=${hurry} here=${here} acts=${acts} selects=${selects} />`,
    [names, columns, side, selects],
  );
  return html`<div ref=${box} class="gallery">
    ${width.value > 0 && count > 0 && html`<${VirtualRows} key=${`${columns}/${side}`} count=${rows} rowHeight=${side + GAP} render=${render} onRange=${ranged} />`}
  </div>`;
}

/**
 * A row of pictures. It is drawn anew by what it reads, not by the scrolling of others; its pictures are asked for once it
 * does not fly past.
 * @param {{row: number, names: Names, columns: number, side: number, hurry: import("./virtual.js").Hurry, selects: boolean,
 *   here: import("@preact/signals-core").Signal<number>, acts: {current: Acts}}} properties
 */
function Row({ row, names, columns, side, hurry, here, acts, selects }) {
  const seen = useRef(false);
  if (!seen.current) seen.current = !hurry.value;
  void names.news.value;
  const end = Math.min(names.count.value, (row + 1) * columns);
  const cells = [];
  for (let cell = row * columns; cell < end; cell += 1) {
    const { job, index } = names.at(cell);
    const info = names.infos.get(job);
    const label = info ? `Picture ${index + 1} of ${info.images}: ${info.prompt || info.kind}${info.private ? ", private" : ""}` : `Picture ${index + 1}`;
    const on = chosen.value.has(job);
    const hearted = liked.value.has(`${job}/${index}`);
    cells.push(html`<div key=${`${job}/${index}`} class=${classes("cell", on && "chosen")} style=${{ width: `${side}px`, height: `${side}px` }}>
      ${seen.current && html`<img alt="" src=${thumbnailUrl(job, index, 256)} width=${side} height=${side} decoding="async" draggable=${false} />`}
      <button type="button" class="cell-open" data-cell=${cell} data-job=${job} aria-label=${label} aria-pressed=${selects ? on : null}
        tabindex=${cell === here.value ? 0 : -1} onClick=${(/** @type {MouseEvent} */ event) => acts.current.clicked(event, cell)}
        onFocus=${() => { here.value = cell; }} onKeyUp=${(/** @type {KeyboardEvent} */ event) => event.key === " " && selects && event.preventDefault()}></button>
      ${selects && html`<button type="button" class="cell-check" tabindex="-1" aria-label=${`${on ? "Leave out" : "Choose"} ${label}`}
        onClick=${(/** @type {MouseEvent} */ event) => (event.shiftKey ? acts.current.extend(cell) : acts.current.toggle(cell))}>${on && html`<${Icon} name="check" />`}</button>`}
      ${selects
        ? hearted && html`<span class="cell-mark"><${Icon} name="heart" /></span>`
        : html`<button type="button" class=${classes("cell-mark", !hearted && "off")} tabindex="-1" aria-pressed=${hearted} aria-label=${`Like ${label}`} onClick=${() => acts.current.like(cell)}><${Icon} name="heart" /></button>`}
    </div>`);
  }
  return html`<div class="cells" style=${{ gap: `${GAP}px` }}>${cells}</div>`;
}
