// A job: its pictures as they form, what it is, and what can be made of it.

import { classes, html } from "../lib/html.js";
import { clock, gpuTime, ratio } from "../lib/format.js";
import { TITLES, makings, make, ofJob, retry, uses } from "../lib/actions.js";
import { session } from "../lib/api.js";
import { Icon } from "./icon.js";
import { Menu } from "./menu.js";
import { show } from "./lightbox.js";
import { Tile } from "./tile.js";
import { write } from "./bar.js";

/** @typedef {import("../lib/store.js").Job} Job */

/** @param {{job: Job}} properties */
export function JobCard({ job }) {
  const info = job.info.value;
  const texts = info.texts.length > 0 || ["describe", "shorten"].includes(info.kind);
  const count = Math.max(1, info.images);
  return html`<article class=${classes("job", texts && "of-texts")} aria-label=${info.prompt || TITLES[info.kind] || info.kind} data-job=${job.id} data-state=${info.state}>
    ${texts
      ? html`<${Texts} job=${job} />`
      : html`<div class="tiles" data-count=${count} data-wide=${info.width > 1.6 * info.height}>
          ${Array.from({ length: count }, (_, index) => html`<${Tile} key=${index} job=${job} index=${index} onOpen=${() => show(job, index)}>
            <div class="tile-acts">
              <button type="button" class="chip-button" onClick=${() => make("vary", job, index)} title="Vary subtly (V)"><${Icon} name="vary" /><span class="hidden">Vary picture ${index + 1}</span></button>
              ${info.kind !== "upscale" && html`<button type="button" class="chip-button" onClick=${() => make("upscale", job, index)} title="Upscale (U)"><${Icon} name="upscale" /><span class="hidden">Upscale picture ${index + 1}</span></button>`}
              <${Menu} label=${`What can be made of picture ${index + 1}`} class="chip-button" items=${() => [...makings(job, index), null, ...uses(job, index)]} />
            </div>
          <//>`)}
        </div>`}
    <div class="job-side">
      <div class="job-head">
        <p class="job-prompt">${info.prompt || html`<span class="muted">${TITLES[info.kind] ?? "without words"}</span>`}</p>
        <${Menu} label="What can be done with this job" items=${() => ofJob(job)} />
      </div>
      <${Facts} info=${info} />
      <${State} job=${job} />
      ${info.state === "done" && !texts && info.pictures.length > 0 && html`<${Row} job=${job} />`}
    </div>
  </article>`;
}

/** @param {{info: import("../lib/types.js").JobInfo}} properties */
function Facts({ info }) {
  const facts = [
    info.kind !== "imagine" && info.prompt && (TITLES[info.kind] ?? info.kind), // without words it is the title
    ratio(info.width || 1, info.height || 1) !== "1:1" && ratio(info.width || 1, info.height || 1),
    info.lane !== "fast" && info.lane,
    info.private && "private",
    clock(info.made_ms),
    info.charged_ms > 0 && gpuTime(info.charged_ms),
  ].filter(Boolean);
  return html`<p class="facts">${facts.map((fact) => html`<span key=${fact}>${fact === "private" && html`<${Icon} name="lock" />`}${fact}</span>`)}</p>`;
}

/** How it goes, or why it did not. @param {{job: Job}} properties */
function State({ job }) {
  const info = job.info.value;
  const { step, steps } = job.steps.value;
  const total = steps || info.steps;
  const notes = [...(info.note ? [info.note] : []), ...info.notes];
  if (info.state === "queued") {
    return html`<div class="state"><progress max="1" value="0" aria-label="Waiting"></progress><span>Waiting</span></div>`;
  }
  if (info.state === "running" || info.state === "paused") {
    const words = info.state === "paused" ? "Paused for others" : step >= total && total ? "Finishing" : `Step ${step} of ${total}`;
    return html`<div class="state"><progress max=${total || 1} value=${step} aria-label="Progress"></progress><span>${words}</span></div>`;
  }
  if (info.state === "done") return notes.length ? html`<ul class="notes">${notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul>` : null;
  const title = { failed: "It failed", cancelled: "Cancelled", blocked: "Not shown" }[info.state] ?? info.state;
  return html`<div class="ended" data-state=${info.state}>
    <p>${title}${info.reason && info.reason !== info.state ? `: ${info.reason}` : "."}</p>
    ${info.state !== "blocked" && info.account === session.value?.account && html`<button type="button" onClick=${() => retry(job)}><${Icon} name="again" /><span>Try again</span></button>`}
  </div>`;
}

/** U and V of each picture, as many know them, and what else can be made of it. @param {{job: Job}} properties */
function Row({ job }) {
  const { images, kind } = job.info.value;
  const numbers = Array.from({ length: images }, (_, index) => index);
  return html`<div class="uv">
    ${kind !== "upscale" && html`<div role="group" aria-label="Upscale">
      ${numbers.map((index) => html`<button key=${index} type="button" class="tiny" aria-label=${`Upscale picture ${index + 1}`} onClick=${() => make("upscale", job, index)}>U${images > 1 ? index + 1 : ""}</button>`)}
    </div>`}
    <div role="group" aria-label="Vary">
      ${numbers.map((index) => html`<button key=${index} type="button" class="tiny" aria-label=${`Vary picture ${index + 1}`} onClick=${() => make("vary", job, index)}>V${images > 1 ? index + 1 : ""}</button>`)}
    </div>
    <div role="group" aria-label="Zoom, pan, region and more">
      ${numbers.map((index) => html`<${Menu} key=${index} class="tiny" label=${`Zoom, pan, region and more of picture ${index + 1}`} text=${images > 1 ? String(index + 1) : "More"} items=${() => [...makings(job, index), null, ...uses(job, index)]} />`)}
      <button type="button" class="tiny" aria-label="Again, with another seed" title="Again, with another seed" onClick=${() => make("reroll", job, -1)}><${Icon} name="again" /></button>
    </div>
  </div>`;
}

/** What a job made in place of pictures; each can go on in the bar. @param {{job: Job}} properties */
function Texts({ job }) {
  const { texts, kind } = job.info.value;
  if (!texts.length) return html`<div class="texts"><p class="muted">${TITLES[kind] ?? kind}</p></div>`;
  return html`<ol class="texts" aria-label=${TITLES[kind] ?? kind}>
    ${texts.map(
      (each, index) => html`<li key=${index}>
        ${each.role === "word"
          ? html`<span class=${each.note ? "muted" : ""}>${each.text}</span>`
          : html`<button type="button" class="text-button" title="Use it as the prompt" onClick=${() => write(each.text)}>${each.text}</button>`}
        <span class="muted">${each.note || `${Math.round(each.score * 100)} %`}</span>
      </li>`,
    )}
  </ol>`;
}
