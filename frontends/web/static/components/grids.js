// Whole grids to pick from, and the log of all choices, each of which can be switched off.

import { classes, html, useEffect, useSignal } from "../lib/html.js";
import { call } from "../lib/api.js";
import { clock, dayName } from "../lib/format.js";
import { find, order } from "../lib/store.js";
import { show } from "./lightbox.js";
import { Thumbnail } from "./tile.js";
import { attempt, tell } from "./toasts.js";

const SHOWN = 12; // grids
const PAGE = 30; // entries of the log

/** The latest grids: those that one likes are marked, and the rest teach a little too. */
export function Grids() {
  const picked = useSignal(/** @type {Record<string, number[]>} */ ({}));
  const saved = useSignal(/** @type {Set<string>} */ (new Set()));
  const grids = order.value.filter((job) => job.info.value.state === "done" && job.info.value.pictures.filter((each) => each.index >= 0).length > 1).slice(0, SHOWN);
  if (!grids.length) return html`<div class="welcome"><h2>No grids yet</h2><p class="muted">Draw something with more than one picture; then pick here what you like of it.</p></div>`;
  /** @param {string} job @param {number} index */
  const toggle = (job, index) => {
    const now = picked.peek()[job] ?? [];
    picked.value = { ...picked.peek(), [job]: now.includes(index) ? now.filter((each) => each !== index) : [...now, index].sort() };
  };
  /** @param {string} job */
  const save = (job) => attempt(async () => {
    const told = await call("taste.pick", { job, picked: picked.peek()[job] ?? [] });
    saved.value = new Set(saved.peek()).add(job);
    tell(`${told.events} choices teach your profile now.`);
  });
  return html`<div class="profiles"><p class="muted">Mark what you like of each grid.</p>
    ${grids.map((job) => {
      const info = job.info.value;
      const marked = picked.value[job.id] ?? [];
      const done = saved.value.has(job.id);
      return html`<section key=${job.id} class="pick" aria-label=${info.prompt}>
        <div class="row"><h2>${info.prompt}</h2><span class="spring"></span>
          <button type="button" class=${marked.length ? "primary" : ""} disabled=${done || !marked.length} onClick=${() => save(job.id)}>${done ? "Saved" : "Save"}</button></div>
        <div class="tiles" data-count=${info.images}>${info.pictures.filter((each) => each.index >= 0).map((each) => html`<button key=${each.index} type="button" class=${classes("tile loaded pickable", marked.includes(each.index) && "picked")}
          aria-pressed=${marked.includes(each.index)} aria-label=${`Picture ${each.index + 1} of ${info.prompt}`} disabled=${done} style=${{ aspectRatio: `${each.width} / ${each.height}` }} onClick=${() => toggle(job.id, each.index)}>
          <${Thumbnail} job=${job.id} index=${each.index} width=${each.width} height=${each.height} /></button>`)}</div>
      </section>`;
    })}
  </div>`;
}

/** Every choice so far, newest first. */
export function History() {
  const events = useSignal(/** @type {any[] | null} */ (null));
  const next = useSignal(0);
  const load = () => attempt(async () => {
    const page = await call("taste.events", { before: next.peek(), limit: PAGE });
    events.value = [...(events.peek() ?? []), ...page.events];
    next.value = page.next;
  });
  useEffect(() => void load(), []);
  /** @param {any} event @param {HTMLInputElement} box */
  const toggle = async (event, box) => {
    const changed = await attempt(() => call("taste.switch", { event: event.event, on: !event.on }));
    if (changed) events.value = (events.peek() ?? []).map((each) => (each.event === changed.event ? changed : each));
    else box.checked = event.on; // as it is on the server
  };
  /** @param {{job: string, index: number}} picture */
  const open = ({ job, index }) => attempt(async () => show(await find(job), index, []));
  if (events.value === null) return html`<p class="muted pad">…</p>`;
  if (!events.value.length) return html`<div class="welcome"><h2>No choices yet</h2></div>`;
  return html`<div class="scroll"><table class="plain-table"><thead><tr><th scope="col">Pictures</th><th scope="col">Choice</th><th scope="col">When</th><th scope="col">Counts</th></tr></thead><tbody>
    ${events.value.map((event) => html`<tr key=${event.event} class=${event.on ? "" : "off"}>
      <td><div class="row tight">${event.pictures.map((/** @type {any} */ each, /** @type {number} */ at) => {
        const chosen = each.picked || (event.choice === "left" && at === 0) || (event.choice === "right" && at === 1);
        return html`<button key=${at} type="button" class=${classes("past", chosen && "picked")} aria-label=${`Picture ${at + 1}${chosen ? ", chosen" : ""}`} onClick=${() => open(each)}><${Thumbnail} job=${each.job} index=${each.index} width="56" height="56" /></button>`;
      })}</div></td>
      <td>${event.kind === "pair" ? { left: "the left one", right: "the right one", skip: "neither" }[/** @type {string} */ (event.choice)] : event.kind}${event.teaches ? "" : html` <span class="muted">teaches nothing</span>`}</td>
      <td>${dayName(event.at_ms)}, ${clock(event.at_ms)}</td>
      <td><input type="checkbox" role="switch" class="switch" checked=${event.on} aria-label=${`Choice ${event.event} counts`} onChange=${(/** @type {Event} */ { target }) => toggle(event, /** @type {HTMLInputElement} */ (target))} /></td>
    </tr>`)}
  </tbody></table>
  ${next.value > 0 && html`<button type="button" onClick=${load}>Older</button>`}</div>`;
}

