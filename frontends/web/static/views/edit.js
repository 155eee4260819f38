// The editor: a picture is moved, scaled, put on another canvas, erased in parts, or given another surface.

import { html, signal, useEffect, useSignal } from "../lib/html.js";
import { bring, call, pictureUrl } from "../lib/api.js";
import { Editing, maskFile } from "../lib/editing.js";
import { isCovered, isWriting, keyOf, useKeys } from "../lib/keys.js";
import { go, href } from "../lib/router.js";
import { TITLES } from "../lib/actions.js";
import { recipeOf } from "../lib/recipe.js";
import { find, order, submit } from "../lib/store.js";
import { EditorCanvas } from "../components/canvas.js";
import { Compare } from "../components/compare.js";
import { Drop } from "../components/drop.js";
import { Icon } from "../components/icon.js";
import { show } from "../components/lightbox.js";
import { Thumbnail, Tile } from "../components/tile.js";
import { attempt } from "../components/toasts.js";

/** @typedef {import("../lib/store.js").Job} Job */
/** @typedef {import("../components/canvas.js").Tool} Tool */

const TOOLS = /** @type {[Tool, string, string, string][]} */ ([
  ["move", "Move and scale", "pan", "m"], ["erase", "Erase", "brush", "e"], ["restore", "Restore", "picture", "t"],
]);
const ASPECTS = [[1, 1], [4, 3], [3, 2], [16, 9], [3, 4], [2, 3], [9, 16]];

/** The jobs that were made of each picture here, newest first, and what was done to it. */
const made = signal(/** @type {Map<string, Job[]>} */ (new Map()));
/** Files that were opened here, by digest. @type {Map<string, {url: string, width: number, height: number, own: string}>} */
const files = new Map();
/** @type {Map<string, Editing>} */
const opened = new Map();

/** @param {{params: string[]}} properties */
export default function Edit({ params: [id = "", number = "0", tool = ""] }) {
  const job = useSignal(/** @type {Job | null} */ (null));
  const wrong = useSignal("");
  useEffect(() => {
    job.value = null;
    wrong.value = "";
    if (!id || files.has(id)) return undefined;
    let here = true; // an answer may come when another one is looked at
    find(id).then((found) => { if (here) job.value = found; }, (error) => { if (here) wrong.value = error.message; });
    return () => { here = false; };
  }, [id]);
  const file = files.get(id);
  if (file) return html`<${Open} key=${id} name=${id} source=${{ digest: id }} picture=${file} url=${file.url} own=${file.own} first="erase" />`;
  if (!id || wrong.value) return html`<${Choose} problem=${wrong.value} />`;
  const index = Number(number);
  const picture = job.value?.info.value.pictures.find((each) => each.index === index);
  if (!job.value) return html`<p class="muted pad">…</p>`;
  if (!picture) return html`<p class="error pad" role="alert">That job has no picture ${index + 1}.</p>`;
  return html`<${Open} key=${`${id}/${index}`} name=${`${id}/${index}`} source=${{ job: id, index }} picture=${picture} url=${pictureUrl(id, index)} own=${job.value.info.value.prompt} first=${tool === "move" ? "move" : "erase"} />`;
}

/** Take a file in, to be edited. @param {Blob[]} chosen */
async function openFile([file]) {
  if (!file) return;
  const [digest, bitmap, recipe] = await Promise.all([bring(file), createImageBitmap(file), recipeOf(file)]);
  files.set(digest, { url: URL.createObjectURL(file), width: bitmap.width, height: bitmap.height, own: recipe?.prompt ?? "" });
  go("edit", digest);
}

/** The latest pictures, to begin with one, or a file. @param {{problem: string}} properties */
function Choose({ problem }) {
  const pictures = order.value.flatMap((job) => job.info.value.pictures.filter((each) => each.index >= 0).map((each) => ({ job, ...each }))).slice(0, 48);
  return html`<div class="chooser"><h1>Which picture?</h1>
    ${problem && html`<p class="error" role="alert">${problem}</p>`}
    <${Drop} label="Drop a picture here, or choose a file" onFiles=${(/** @type {Blob[]} */ chosen) => attempt(() => openFile(chosen))} /><ul>
    ${pictures.map(({ job, index, width, height }) => html`<li key=${`${job.id}/${index}`}><a class="tile loaded" href=${href("edit", job.id, index)} aria-label=${`Edit picture ${index + 1} of ${job.info.value.prompt}`} style=${{ aspectRatio: "1 / 1" }}>
      <${Thumbnail} job=${job.id} index=${index} width=${width} height=${height} /></a></li>`)}
  </ul></div>`;
}

/**
 * @param {{name: string, source: import("../lib/types.js").Source, picture: {width: number, height: number}, url: string, own: string, first: Tool}} properties
 *   `own`: the prompt that it was drawn of; "": that is not known; `first`: the tool that it begins with
 */
function Open({ name, source, picture, url, own, first }) {
  const editing = opened.get(name) ?? new Editing(picture.width, picture.height);
  opened.set(name, editing);
  const tool = useSignal(first);
  const brush = useSignal(Math.round(Math.min(picture.width, picture.height) / 6));
  const prompt = useSignal(own);
  const wrong = useSignal("");
  const busy = useSignal("");
  const compared = useSignal(/** @type {{job: Job, index: number} | null} */ (null));
  const state = editing.state.value;
  const moved = editing.moved.value;
  const erased = editing.erased.value;

  useKeys((event) => {
    const undoes = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (isCovered() || (isWriting(event.target) && !(undoes && !(event.target instanceof HTMLTextAreaElement)))) return;
    const key = keyOf(event);
    const found = TOOLS.find(([, , , each]) => each === key);
    if (undoes) event.shiftKey ? editing.redo() : editing.undo();
    else if (found) tool.value = found[0];
    else if (key === "[" || key === "]") brush.value = Math.max(4, Math.round(brush.value * (key === "]" ? 1.2 : 1 / 1.2)));
    else return;
    event.preventDefault();
  });

  /** @param {string} what @param {() => Promise<void>} work */
  const run = async (what, work) => {
    busy.value = what;
    wrong.value = "";
    try {
      await work();
    } catch (error) {
      wrong.value = error instanceof Error ? error.message : String(error);
    }
    busy.value = "";
  };
  const sources = [source];
  /** @param {string} kind @param {Record<string, any>} parameters */
  const ask = async (kind, parameters) => {
    const words = kind === "retexture" || prompt.value.trim() !== own ? prompt.value.trim() : "";
    const jobs = await submit({ kind, prompt: words, parameters, sources });
    made.value = new Map(made.peek()).set(name, [...jobs, ...(made.peek().get(name) ?? [])]);
  };
  const draw = () => run("draw", async () => {
    const now = editing.state.peek();
    /** @type {Record<string, any>} */
    const parameters = {};
    if (erased) parameters.mask = await bring(await maskFile(now));
    if (!moved) return ask("region", parameters);
    return ask("edit", { ...parameters, place: now.place, width: now.width, height: now.height });
  });
  /** @param {number[]} aspect */
  const reshape = (aspect) => run("aspect", async () => {
    const planned = await call("plan", { kind: "edit", prompt: own ? "" : prompt.value.trim() || "a picture", sources, parameters: { aspect } });
    const { width, height } = planned.jobs[0].parameters;
    if (width && height) editing.resize(width, height);
  });
  const results = made.value.get(name) ?? [];
  return html`<div class="editor">
    <h1 class="hidden">Editor</h1>
    <div class="editor-main">
      <div class="editor-tools" role="toolbar" aria-label="Tools">
        ${TOOLS.map(([id, label, icon, key]) => html`<button key=${id} type="button" aria-pressed=${tool.value === id} title=${`${label} (${key.toUpperCase()})`} onClick=${() => { tool.value = id; }}><${Icon} name=${icon} /><span>${label}</span></button>`)}
        <label class="brush">Brush <input type="range" min="4" max=${Math.max(state.width, state.height) / 2} value=${brush.value} onInput=${(/** @type {Event} */ event) => { brush.value = Number(/** @type {HTMLInputElement} */ (event.target).value); }} /></label>
        <span class="spring"></span>
        <button type="button" class="round" aria-label="Undo" title="Undo (Ctrl+Z)" disabled=${!editing.past.value.length} onClick=${() => editing.undo()}><${Icon} name="undo" /></button>
        <button type="button" class="round" aria-label="Redo" title="Redo (Ctrl+Shift+Z)" disabled=${!editing.future.value.length} onClick=${() => editing.redo()}><${Icon} name="redo" /></button>
        <button type="button" class="quiet" disabled=${!moved && !state.strokes.length} onClick=${() => editing.reset()}>Reset</button>
      </div>
      <div class="editor-stage">
        ${compared.value
          ? html`<${Compare} before=${url} after=${pictureUrl(compared.value.job.id, compared.value.index)} width=${picture.width} height=${picture.height} />`
          : html`<${EditorCanvas} editing=${editing} url=${url} tool=${tool.value} brush=${brush.value} />`}
      </div>
    </div>
    <aside class="editor-side">
      <label class="stack">What it shows
        <textarea rows="3" value=${prompt.value} onInput=${(/** @type {Event} */ event) => { prompt.value = /** @type {HTMLTextAreaElement} */ (event.target).value; }}></textarea>
      </label>
      <div><h2>Canvas, ${state.width} × ${state.height}</h2>
        <div class="row tight">${ASPECTS.map(([wide = 1, high = 1]) => html`<button key=${`${wide}:${high}`} type="button" class="tiny" disabled=${busy.value === "aspect"} aria-pressed=${Math.abs(state.width / state.height / (wide / high) - 1) < 0.055} onClick=${() => reshape([wide, high])}>${wide}:${high}</button>`)}</div>
      </div>
      <label class="stack">Size of the picture on it
        <input type="range" min="-100" max="100" value=${Math.round(Math.log2(state.place[2] / picture.width) * 50)} onChange=${(/** @type {Event} */ event) => editing.change({ place: editing.scaled((2 ** (Number(/** @type {HTMLInputElement} */ (event.target).value) / 50) * picture.width) / editing.state.peek().place[2]) })} />
      </label>
      <p class="muted">${erased ? "What is marked is drawn anew." : moved ? "What is empty is drawn anew." : "Erase something, or move the picture; then draw."}</p>
      <div class="row"><button type="button" class="primary" disabled=${(!moved && !erased) || busy.value !== ""} onClick=${draw}><${Icon} name="send" /><span>Draw it</span></button>
        <button type="button" disabled=${busy.value !== ""} title="The shapes stay; colours and surface follow the words" onClick=${() => run("retexture", () => ask("retexture", {}))}><${Icon} name="brush" /><span>Retexture</span></button></div>
      ${wrong.value && html`<p class="error" role="alert">${wrong.value}</p>`}
      ${results.length > 0 && html`<section class="results" aria-label="Results"><h2>Results</h2>
        ${compared.value && html`<button type="button" onClick=${() => { compared.value = null; }}><${Icon} name="edit" /><span>Back to the canvas</span></button>`}
        ${results.map((result) => html`<${Result} key=${result.id} job=${result} onCompare=${(/** @type {number} */ each) => { compared.value = { job: result, index: each }; }} />`)}
      </section>`}
    </aside>
  </div>`;
}

/** @param {{job: Job, onCompare: (index: number) => void}} properties */
function Result({ job, onCompare }) {
  const info = job.info.value;
  const { step, steps } = job.steps.value;
  return html`<div class="result">
    <p class="muted">${TITLES[info.kind] ?? info.kind}${job.ended ? (info.state === "done" ? "" : `: ${info.reason || info.state}`) : `: step ${step} of ${steps || info.steps}`}</p>
    <div class="result-tiles">${Array.from({ length: info.images }, (_, index) => html`<div key=${index}><${Tile} job=${job} index=${index} onOpen=${() => show(job, index)} />
      <div class="row tight"><button type="button" class="tiny" disabled=${!info.pictures.length} onClick=${() => onCompare(index)}>Compare</button>
        <button type="button" class="tiny" disabled=${!info.pictures.length} onClick=${() => go("edit", job.id, index)}>Edit</button></div></div>`)}</div>
  </div>`;
}
