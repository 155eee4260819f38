// One picture as large as the window, with its facts and everything that can be made of it; arrows go to the next.

import { html, signal, useEffect, useLayoutEffect, useRef, useSignal } from "../lib/html.js";
import { pictureUrl, stringify } from "../lib/api.js";
import { clock, dayName, fileSize, gpuTime } from "../lib/format.js";
import { keyOf, isWriting } from "../lib/keys.js";
import { TITLES, copy, liked, makings, ofJob, uses } from "../lib/actions.js";
import { order } from "../lib/store.js";
import { Icon } from "./icon.js";
import { Thumbnail } from "./tile.js";

/** @typedef {import("../lib/store.js").Job} Job */
/** @typedef {{job: Job, index: number}} Place */

/** Actions that lead away from the picture. */
const LEAVES = new Set(["edit", "region", "prompt", "seed", "delete", "as-prompt", "as-style", "as-start"]);

const at = signal(/** @type {Place | null} */ (null));
const among = signal(/** @type {Place[] | null} */ (null));

/**
 * Show a picture. `places`: where the arrows go; left out: the pictures of one's own jobs that are loaded.
 * @param {Job} job @param {number} index @param {Place[]} [places]
 */
export function show(job, index, places) {
  among.value = places ?? null;
  at.value = { job, index };
}

const places = () => among.peek() ?? order.peek().flatMap((job) => job.info.peek().pictures.filter((each) => each.index >= 0).map((each) => ({ job, index: each.index })));

/** @param {number} by */
function move(by) {
  const here = at.peek();
  const all = places();
  const found = all.findIndex((each) => each.job === here?.job && each.index === here.index);
  const next = all[found + by];
  if (next) at.value = next;
}

/** Where it is shown: once on the page. */
export function Lightbox() {
  return at.value && html`<${Open} place=${at.value} />`;
}

/** @param {{place: Place}} properties */
function Open({ place: { job, index } }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const full = useSignal("");
  const touch = useRef(0);
  const info = job.info.value;
  const picture = info.pictures.find((each) => each.index === index);
  const url = pictureUrl(job.id, index);
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.focus();
    dialog.current?.scrollTo(0, 0); // phones would show the first button, below the picture
    return () => {
      const tile = document.querySelector(`.tile-open[data-job="${CSS.escape(at.peek()?.job.id ?? job.id)}"]`);
      (before instanceof HTMLElement && before.isConnected ? before : /** @type {HTMLElement | null} */ (tile))?.focus({ preventScroll: true });
    };
  }, []);
  useEffect(() => {
    if (!picture) at.value = null;
  }, [picture]);
  const making = makings(job, index);
  const using = uses(job, index);
  const whole = ofJob(job);
  void liked.value;
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (isWriting(event.target) || document.querySelector(".menu:popover-open")) return;
    const key = keyOf(event);
    if (key === "ArrowLeft" || key === "k") move(-1);
    else if (key === "ArrowRight" || key === "j") move(1);
    else {
      const act = key.length === 1 && [...making, ...using, ...whole].find((each) => each.key === key);
      if (!act || event.repeat) return;
      if (LEAVES.has(act.id)) dialog.current?.close();
      act.run();
    }
    event.preventDefault();
    event.stopPropagation();
  };
  if (!picture) return null;
  /** @param {import("../lib/actions.js").Action[]} actions */
  const buttons = (actions) => actions.map(
    (act) => html`<button key=${act.id} type="button" class=${act.danger ? "danger-text" : ""}
      onClick=${() => { if (LEAVES.has(act.id)) dialog.current?.close(); act.run(); }}>
      <${Icon} name=${act.icon} /><span>${act.label}</span>${act.key && html`<kbd>${act.key}</kbd>`}
    </button>`,
  );
  return html`<dialog ref=${dialog} class="lightbox" tabindex="-1" aria-label=${`Picture ${index + 1} of ${info.images}: ${info.prompt}`}
    onClose=${() => { at.value = null; }} onKeyDown=${pressed}>
    <div class="stage"
      onPointerDown=${(/** @type {PointerEvent} */ event) => { touch.current = event.pointerType === "touch" ? event.clientX : 0; }}
      onPointerUp=${(/** @type {PointerEvent} */ event) => { const by = touch.current ? event.clientX - touch.current : 0; if (Math.abs(by) > 50) move(by < 0 ? 1 : -1); }}>
      <div class="frame" style=${{ aspectRatio: `${picture.width} / ${picture.height}`, "--ratio": picture.width / picture.height }}>
        <${Thumbnail} key=${`small ${url}`} job=${job.id} index=${index} width=${picture.width} height=${picture.height} eager />
        <img key=${url} class="full" src=${url} alt=${info.prompt} width=${picture.width} height=${picture.height} style=${{ opacity: full.value === url ? 1 : 0 }} onLoad=${() => { full.value = url; }} />
      </div>
      <button type="button" class="round arrow before" aria-label="Picture before" onClick=${() => move(-1)}><${Icon} name="left" /></button>
      <button type="button" class="round arrow after" aria-label="Next picture" onClick=${() => move(1)}><${Icon} name="right" /></button>
    </div>
    <aside class="details" tabindex="-1">
      <header class="row"><h2>${TITLES[info.kind] ?? "Picture"} ${index + 1} of ${info.images}</h2>
        <button type="button" class="round" aria-label="Close" onClick=${() => dialog.current?.close()}><${Icon} name="close" /></button></header>
      <p class="details-prompt">${info.prompt}</p>
      <section><h3>Make of it</h3><div class="acts">${buttons(making)}</div></section>
      <section><h3>Use it</h3><div class="acts">${buttons(using)}</div></section>
      <section><h3>The whole job</h3><div class="acts">${buttons(whole)}</div></section>
      <section><h3>Recipe</h3><${Recipe} info=${info} picture=${picture} /></section>
    </aside>
  </dialog>`;
}

/** Everything that made it. @param {{info: import("../lib/types.js").JobInfo, picture: import("../lib/types.js").Picture}} properties */
function Recipe({ info, picture }) {
  /** @type {[string, string][]} */
  const rows = [
    ["Seed", String(info.seed)],
    ["Size", `${picture.width} × ${picture.height}, ${fileSize(picture.size)}`],
    ["Steps", `${info.steps}, ${info.solver}`],
    ["Guidance", String(info.guidance_scale)],
    ...Object.entries(info.knobs).map(([name, value]) => /** @type {[string, string]} */ ([name, String(value)])),
    ...Object.entries(info.styles).map(([name, value]) => /** @type {[string, string]} */ ([name.slice(0, 24), String(Math.round(value * 1000) / 1000)])),
    ...Object.entries(info.terms).map(([name, value]) => /** @type {[string, string]} */ ([name, `weight ${value}`])),
    ["Lane", info.lane + (info.private ? ", private" : "")],
    ["Made", `${dayName(info.made_ms)}, ${clock(info.made_ms)}${info.charged_ms ? `, ${gpuTime(info.charged_ms)}` : ""}`],
    ["Job", info.job],
  ];
  return html`<table class="facts-table"><tbody>${rows.map(([name, value]) => html`<tr key=${name}><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table>
    <button type="button" class="quiet" onClick=${() => copy(stringify(info, 1), "The recipe is")}><${Icon} name="recipe" /><span>Copy it all</span></button>
    <p class="muted">The file that Download gives has the whole recipe inside.</p>`;
}
