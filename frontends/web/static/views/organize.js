// Organize: all of one's pictures, found by words and filters, kept in folders, and changed many at once.

import { html, signal, useEffect, useRef, useSignal } from "../lib/html.js";
import { Names, change, dayMs, downloadZip, folders, loadFolders } from "../lib/organize.js";
import { call, session } from "../lib/api.js";
import { renewed } from "../lib/events.js";
import { counted, number } from "../lib/format.js";
import { dropped, order } from "../lib/store.js";
import { Gallery, choose, chooseNone, chosen } from "../components/gallery.js";
import { askWords, confirm } from "../components/dialog.js";
import { useDraft } from "../components/controls.js";
import { Icon } from "../components/icon.js";
import { Menu } from "../components/menu.js";
import { PresetsDialog } from "../components/presets.js";
import { attempt, tell } from "../components/toasts.js";

/** @typedef {import("../lib/organize.js").Query} Query */

const WAIT_MS = 250; // after a letter of the search
const LATER_MS = 1000;
const NEW = 400;
const KINDS = ["imagine", "vary", "upscale", "zoom", "pan", "edit", "retexture", "region", "blend", "reroll", "take", "enhance"];
const LANES = ["turbo", "fast", "draft", "relax"];
const names = new Names();
dropped.add((job) => {
  names.drop(job);
  if (chosen.peek().has(job)) choose([job], false);
});
const query = signal(/** @type {Query & {from?: string, to?: string}} */ ({ whose: "own", states: ["done"] }));

/** The query as the server takes it. @returns {Query} */
const asked = () => {
  const { from = "", to = "", ...rest } = query.peek();
  return { ...rest, whose: rest.folder ? "all" : "own", from_ms: dayMs(from), until_ms: dayMs(to, 1) };
};
const load = () => names.load(asked());

/** @param {Partial<Query & {from: string, to: string}>} changes */
function want(changes) {
  query.value = { ...query.peek(), ...changes };
  chooseNone();
  void load();
}

/** Whether one of the own jobs that have ended is not among the first names. */
function isNew() {
  const first = new Set(names.jobs.slice(0, NEW));
  return order.peek().some((job) => job.info.peek().state === "done" && job.info.peek().pictures.length > 0 && !first.has(job.id));
}

export default function Organize() {
  const { count } = names;
  const ended = order.value.filter((job) => job.ended).length;
  useEffect(() => {
    if (names.count.peek() && !isNew()) return;
    void attempt(() => names.refresh(asked));
  }, [ended]);
  const lost = useRef(renewed.peek());
  useEffect(() => {
    if (lost.current === renewed.value) return;
    lost.current = renewed.value;
    void load();
  }, [renewed.value]);
  useEffect(() => {
    if (count.value) void attempt(loadFolders); // behind the first names
  }, [count.value > 0]);
  useEffect(() => {
    const timer = setTimeout(() => void attempt(loadFolders), LATER_MS); // where there are none
    return () => {
      clearTimeout(timer);
      chooseNone();
    };
  }, []);
  const { total, failed } = names;
  const several = chosen.value.size;
  return html`<div class="organize">
    <h1 class="hidden">Organize</h1>
    <${Folders} />
    <div class="organize-main">
      <${Filters} />
      <p class="organize-count muted" role="status">${failed.value
        ? html`<span class="error">${failed.value}</span>`
        : total.value.jobs < 0 ? "Looking …" : total.value.pictures ? `${counted(total.value.pictures, "picture")} in ${counted(total.value.jobs, "job")}` : "No pictures fit."}</p>
      <${Gallery} names=${names} onDelete=${remove} />
      ${count.value > 0 && several > 0 && html`<${Chosen} />`}
    </div>
  </div>`;
}

/** Whether the filters are seen; null: where there is room. */
const unfolded = signal(/** @type {boolean | null} */ (null));
const roomy = matchMedia("(min-width: 821px)"); // as in css/organize.css
const wide = signal(roomy.matches);
roomy.addEventListener("change", () => { wide.value = roomy.matches; });

function Filters() {
  const timer = useRef(0);
  const { search = "", liked = false, rated = false, hidden, private: secret, oldest = false, from = "", to = "", kinds = [], lanes = [], model = "" } = query.value;
  const words = useSignal(search);
  const named = useDraft(model);
  useEffect(() => () => clearTimeout(timer.current), []);
  const open = unfolded.value ?? wide.value;
  const set = [liked, rated, secret === true, hidden === true, kinds.length, lanes.length, model, from, to].filter(Boolean).length;
  /** @param {string} value */
  const typed = (value) => {
    words.value = value;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => want({ search: value }), WAIT_MS);
  };
  /** @param {string} label @param {boolean} on @param {Partial<Query>} changes */
  const toggle = (label, on, changes) => html`<button type="button" class="quiet" aria-pressed=${on} onClick=${() => want(changes)}>${label}</button>`;
  return html`<form class="organize-filters row" role="search" aria-label="Which pictures" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <input type="search" class="organize-search" aria-label="Search" placeholder="Words, seed, job or code" value=${words.value} maxlength="500"
      onInput=${(/** @type {Event} */ event) => typed(/** @type {HTMLInputElement} */ (event.target).value)} />
    <button type="button" class="quiet" aria-expanded=${open} aria-controls=${open ? "organize-filters" : null} onClick=${() => { unfolded.value = !open; }}>
      <${Icon} name="sliders" /><span>Filters</span>${set > 0 && html` <span class="badge">${set}<span class="hidden"> set</span></span>`}</button>
    ${open && html`<div id="organize-filters" class="row">
    ${toggle("Liked", liked, { liked: !liked })}
    ${toggle("Rated", rated, { rated: !rated })}
    ${toggle("Private", secret === true, { private: secret === true ? null : true })}
    ${toggle("Hidden", hidden === true, { hidden: hidden !== true })}
    <select aria-label="Kind" value=${kinds[0] ?? ""} onChange=${(/** @type {Event} */ event) => { const { value } = /** @type {HTMLSelectElement} */ (event.target); want({ kinds: value ? [value] : [] }); }}>
      <option value="">Every kind</option>${KINDS.map((kind) => html`<option key=${kind} value=${kind}>${kind}</option>`)}
    </select>
    <select aria-label="Lane" value=${lanes[0] ?? ""} onChange=${(/** @type {Event} */ event) => { const { value } = /** @type {HTMLSelectElement} */ (event.target); want({ lanes: value ? [value] : [] }); }}>
      <option value="">Every lane</option>${LANES.map((lane) => html`<option key=${lane} value=${lane}>${lane}</option>`)}
    </select>
    <label class="hidden" for="organize-model">Model</label>
    <input id="organize-model" type="text" class="organize-model" list="organize-models" placeholder="Every model" ...${named} maxlength="100" onChange=${(/** @type {Event} */ event) => want({ model: /** @type {HTMLInputElement} */ (event.target).value.trim() })} />
    <datalist id="organize-models">${[...new Set([session.value?.model ?? "", model])].filter(Boolean).map((each) => html`<option key=${each} value=${each}></option>`)}</datalist>
    <div class="dated"><label class="dated">From <input type="date" value=${from} onChange=${(/** @type {Event} */ event) => want({ from: /** @type {HTMLInputElement} */ (event.target).value })} /></label>
    <label class="dated">To <input type="date" value=${to} onChange=${(/** @type {Event} */ event) => want({ to: /** @type {HTMLInputElement} */ (event.target).value })} /></label></div>
    <button type="button" class="quiet" onClick=${() => want({ oldest: !oldest })}>${oldest ? "Oldest first" : "Newest first"}</button>
    </div>`}
  </form>`;
}

function Folders() {
  const name = useSignal("");
  const presets = useSignal(false);
  const { folder = "" } = query.value;
  /** @param {Event} event */
  const added = (event) => {
    event.preventDefault();
    const made = name.peek();
    if (!made.trim()) return;
    void attempt(async () => {
      await call("organize.folder.new", { name: made });
      if (name.peek() === made) name.value = ""; // else another one is being written
      await loadFolders();
    });
  };
  return html`<section class="organize-folders" aria-label="Folders">
    <ul>
      <li><button type="button" class="text-button" aria-pressed=${folder === ""} onClick=${() => want({ folder: "" })}><${Icon} name="picture" /><span>All pictures</span></button></li>
      ${folders.value.map((each) => html`<li key=${each.folder} class="row">
        <button type="button" class="text-button" aria-pressed=${folder === each.folder} onClick=${() => want({ folder: each.folder })}>
          <${Icon} name="folder" /><span>${each.name}</span><span class="muted">${number(each.jobs)}</span>
        </button>
        <${Menu} label=${`Folder ${each.name}`} items=${() => [
          { id: "rename", label: "Rename", icon: "edit", run: () => void rename(each) },
          { id: "delete", label: "Delete the folder", icon: "trash", danger: true, run: () => void drop(each) },
        ]} />
      </li>`)}
    </ul>
    <form class="row" onSubmit=${added}>
      <input type="text" aria-label="Name of a folder" placeholder="New folder" maxlength="100" value=${name.value} onInput=${(/** @type {Event} */ event) => { name.value = /** @type {HTMLInputElement} */ (event.target).value; }} />
      <button type="submit" class="round" aria-label="Make the folder" disabled=${!name.value.trim()}><${Icon} name="plus" /></button>
    </form>
    <button type="button" class="quiet" onClick=${() => { presets.value = true; }}><${Icon} name="recipe" /><span>Presets of parameters</span></button>
    ${presets.value && html`<${PresetsDialog} onClose=${() => { presets.value = false; }} />`}
  </section>`;
}

/** @param {import("../lib/organize.js").Folder} folder */
async function rename({ folder, name: before }) {
  const name = await askWords(`Rename the folder ${before}`, "New name", before, "Rename");
  if (name === null || name === before) return;
  await attempt(async () => {
    await call("organize.folder.rename", { folder, name });
    await loadFolders();
  });
}

/** @param {import("../lib/organize.js").Folder} folder */
async function drop(folder) {
  if (!(await confirm(`Delete the folder ${folder.name}?`, "Its pictures stay where they are.", "Delete"))) return;
  await attempt(async () => {
    await call("organize.folder.delete", { folder: folder.folder });
    if (query.peek().folder === folder.folder) want({ folder: "" });
    await loadFolders();
  });
}

/** What is chosen, in words: a job is chosen with all its pictures. @param {Set<string>} jobs */
const saidOf = (jobs) => `${counted(jobs.size, "job")} with ${counted(names.picturesOf(jobs), "picture")}`;

/** Put what is chosen into a folder that is made for it. */
async function intoNew() {
  const name = await askWords("A new folder", "Its name", "", "Put them in");
  if (!name) return;
  const made = await attempt(() => call("organize.folder.new", { name }));
  if (made) await act("add", `in ${made.name}`, made.folder);
}

/** What can be done with what is chosen. */
function Chosen() {
  const { folder = "", hidden } = query.value;
  const jobs = [...chosen.value];
  const left = folders.value.filter((each) => each.folder !== folder);
  return html`<div class="organize-chosen row" role="toolbar" aria-label="What is chosen">
    <strong>${saidOf(chosen.value)} chosen</strong>
    <button type="button" onClick=${() => void act("publish", "published")}><${Icon} name="globe" /><span>Publish</span></button>
    <button type="button" onClick=${() => void act("unpublish", "private now")}><${Icon} name="lock" /><span>Make private</span></button>
    ${hidden === true
      ? html`<button type="button" onClick=${() => void act("unhide", "no longer hidden")}><${Icon} name="eye" /><span>Show again</span></button>`
      : html`<button type="button" onClick=${() => void act("hide", "hidden")}><${Icon} name="eye" /><span>Hide</span></button>`}
    <${Menu} label="Put into a folder" icon="folder" text="Folder" class="" items=${() => [
      ...left.map((each) => ({ id: each.folder, label: each.name, icon: "folder", run: () => void act("add", `in ${each.name}`, each.folder) })),
      { id: "", label: "A new folder …", icon: "plus", run: () => void intoNew() },
    ]} />
    ${folder && html`<button type="button" onClick=${() => void act("remove", "taken out", folder)}><${Icon} name="folder" /><span>Take out</span></button>`}
    <button type="button" onClick=${() => void attempt(() => downloadZip(jobs))}><${Icon} name="download" /><span>Download</span></button>
    <button type="button" class="danger-text" onClick=${() => void remove()}><${Icon} name="trash" /><span>Delete</span></button>
    <button type="button" class="quiet" onClick=${() => choose(names.jobs)}>Choose all</button>
    <button type="button" class="round" aria-label="Choose none" onClick=${chooseNone}><${Icon} name="close" /></button>
  </div>`;
}

/** @param {string} what @param {string} words @param {string} [folder] */
const act = (what, words, folder = "") =>
  attempt(async () => {
    const jobs = [...chosen.peek()];
    const { changed, refused } = await change(what, jobs, folder).catch(async (error) => {
      await load(); // some may be changed
      throw error;
    });
    const first = refused[0];
    tell(`${counted(changed, "job")} ${words}.${first ? ` Refused for ${number(refused.length)}: ${first.text}` : ""}`, first ? { kind: "error" } : {});
    for (const job of jobs) names.infos.delete(job);
    chooseNone();
    await Promise.all([load(), loadFolders()]);
  });

/** Delete what is chosen, after a yes. */
async function remove() {
  const jobs = chosen.peek();
  const text = `${jobs.size === 1 ? "Its prompt leaves" : "Their prompts leave"} the records, too. That cannot be taken back.`;
  const yes = await confirm(`Delete ${saidOf(jobs)} for good?`, text, "Delete");
  if (yes) await act("delete", "deleted");
}
