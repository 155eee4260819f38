// The imagine bar: always there. What is said in it is checked as it is written, and priced before it is sent.

import { classes, html, useEffect, useRef, useSignal } from "../lib/html.js";
import { ApiError, session } from "../lib/api.js";
import { counted, gpuTime } from "../lib/format.js";
import { recipeOf } from "../lib/recipe.js";
import { go, route } from "../lib/router.js";
import * as wish from "../lib/wish.js";
import { Controls, labelOf, written } from "./controls.js";
import { Icon } from "./icon.js";
import { PresetsDialog } from "./presets.js";
import { SettingsDialog } from "./settings.js";
import { ROLES, Slots, filesOf } from "./slots.js";
import { attempt, tell, tellError } from "./toasts.js";

/** What a picture that is dropped may be, beside what it is for. */
const OWN_RECIPE = { role: "recipe", label: "Its recipe", title: "Write its prompt, seed and size into the bar" };

/** Put the words of something into the bar, and the focus. @param {string} text @param {Record<string, any>} [parameters] */
export function write(text, parameters) {
  wish.prompt.value = text;
  if (parameters) wish.chosen.value = parameters;
  focusBar();
}

export function focusBar() {
  const field = document.getElementById("prompt");
  field?.focus();
  if (field instanceof HTMLTextAreaElement) field.setSelectionRange(field.value.length, field.value.length);
}

export function ImagineBar() {
  const panel = useSignal(false);
  const keeping = useSignal(false);
  const presets = useSignal(false);
  const over = useSignal(/** @type {string | null} */ (null)); // where a picture is being dragged: "": between the zones
  const checked = wish.plan.value;
  const ready = checked.state === "good" && !wish.sending.value;
  const submit = async () => {
    if (wish.sending.value || !(wish.prompt.value.trim() || wish.slots.value.length)) return;
    if (wish.plan.peek().state === "wrong" || wish.slots.peek().some((slot) => !slot.digest && !slot.failed)) return; // a picture is on its way
    try {
      await wish.send();
      panel.value = false;
      if (route.value[0] !== "create") go("create");
    } catch (error) {
      if (error instanceof ApiError && error.status === 400) wish.plan.value = { state: "wrong", planned: null, error };
      else tellError(error); // another time the same may be taken
    }
  };
  /** @param {DragEvent} event */
  const dropped = (event) => {
    over.value = null;
    const own = event.dataTransfer?.getData("application/x-salon-picture");
    const files = filesOf(event.dataTransfer);
    if (hasPicture(event)) event.preventDefault(); // else the browser would open the file in place of the page
    if (!own && !files.length) {
      if (hasPicture(event)) tell("Pictures can be dropped here: PNG, JPEG or WebP.", { kind: "error" });
      return;
    }
    const zone = zoneOf(event) || "prompt";
    const picture = own ? JSON.parse(own) : null;
    if (zone === "recipe") {
      void attempt(async () => {
        const recipe = picture ? await wish.recipeOfJob(picture.job) : await recipeOf(/** @type {File} */ (files[0]));
        if (!recipe) throw new Error("That picture does not say what it was drawn of: it is none of Salon's, or was saved anew.");
        wish.sayRecipe(recipe);
        focusBar();
      });
      return;
    }
    const role = /** @type {wish.Role} */ (zone);
    if (picture) void wish.addPicture(picture.job, picture.index, role);
    for (const file of files) void wish.addFile(file, role);
  };
  return html`<section
    class=${classes("bar", over.value !== null && "over")} aria-label="Imagine" onDrop=${dropped}
    onDragOver=${(/** @type {DragEvent} */ event) => { if (!hasPicture(event)) return; event.preventDefault(); over.value = zoneOf(event); }}
    onDragLeave=${(/** @type {DragEvent} */ event) => { if (!(/** @type {Node} */ (event.currentTarget).contains(/** @type {Node} */ (event.relatedTarget)))) over.value = null; }}
  >
    <form onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); void submit(); }}>
      <div class="bar-main">
        <${Slots} />
        <${Words} onSubmit=${submit} />
        ${over.value !== null && html`<div class="zones" aria-hidden="true">${[...ROLES, OWN_RECIPE].map(({ role, label, title }) => html`<div key=${role} class=${classes("zone", over.value === role && "over")} data-zone=${role} title=${title}>${label}</div>`)}</div>`}
        <button class="primary send" type="submit" disabled=${!ready} aria-label="Draw" title="Draw (Enter)"><${Icon} name="send" /><span>Draw</span></button>
      </div>
      <div class="bar-row">
        <button type="button" class="quiet" aria-label="Parameters" aria-expanded=${panel.value} aria-controls=${panel.value ? "parameters" : null} onClick=${() => { panel.value = !panel.value; }}>
          <${Icon} name="sliders" /><span>Parameters</span>
        </button>
        ${session.value?.features.includes("organize") && html`<button type="button" class="quiet" aria-label="Presets" onClick=${() => { presets.value = true; }}><${Icon} name="recipe" /><span>Presets</span></button>`}
        <button type="button" class="quiet" aria-label="Settings" onClick=${() => { keeping.value = true; }}><${Icon} name="keys" /><span>Settings</span></button>
        <${Chips} />
        <${Outcome} />
      </div>
      ${panel.value && html`<div id="parameters" class="bar-panel">
        <${Controls} specs=${wish.specs.value} values=${wish.chosen.value} onChange=${wish.choose}
          inEffect=${checked.planned?.jobs[0]?.parameters ?? wish.settings.value.parameters} />
      </div>`}
    </form>
    ${presets.value && html`<${PresetsDialog} onClose=${() => { presets.value = false; }} />`}
    ${keeping.value && html`<${SettingsDialog} onClose=${() => { keeping.value = false; }} />`}
  </section>`;
}

/** @param {DragEvent} event */
const hasPicture = (event) => ["Files", "application/x-salon-picture"].some((type) => event.dataTransfer?.types.includes(type));

/** @param {DragEvent} event */
const zoneOf = (event) => /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("[data-zone]"))?.dataset.zone ?? "";

/** The words, with a mark under the character that an error speaks of. @param {{onSubmit: () => void}} properties */
function Words({ onSubmit }) {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const mirror = useRef(/** @type {HTMLDivElement | null} */ (null));
  const text = wish.prompt.value;
  const { state, error } = wish.plan.value;
  useEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);
  const letters = Array.from(text);
  const at = state === "wrong" && error?.position >= 0 ? Math.min(error.position, letters.length) : -1;
  const end = at < 0 ? -1 : endOfWord(letters, at);
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      onSubmit();
    } else if (event.key === "Escape") field.current?.blur();
  };
  /** @param {ClipboardEvent} event */
  const pasted = (event) => {
    const files = filesOf(event.clipboardData);
    if (!files.length) return;
    event.preventDefault();
    for (const file of files) void wish.addFile(file);
  };
  return html`<div class="words">
    <div class="mirror" ref=${mirror} aria-hidden="true">
      ${at >= 0 && html`${letters.slice(0, at).join("")}<mark>${letters.slice(at, end).join("") || " "}</mark>${letters.slice(end).join("")}`}
    </div>
    <textarea
      id="prompt" ref=${field} rows="1" value=${text} spellcheck=${false} autocapitalize="off" enterkeyhint="send"
      placeholder="What shall be drawn?" aria-label="Prompt" aria-invalid=${state === "wrong"} aria-describedby="outcome"
      onInput=${(/** @type {Event} */ event) => { wish.prompt.value = /** @type {HTMLTextAreaElement} */ (event.target).value; }}
      onKeyDown=${pressed} onPaste=${pasted}
      onScroll=${() => { if (mirror.current && field.current) mirror.current.scrollTop = field.current.scrollTop; }}
    ></textarea>
  </div>`;
}

/** @param {string[]} letters @param {number} at */
function endOfWord(letters, at) {
  let end = at + 1;
  while (end < letters.length && !/\s/.test(letters[end] ?? " ")) end += 1;
  return end;
}

/** The parameters that are said beside the words, each to be taken away again. */
function Chips() {
  const said = Object.entries(wish.chosen.value);
  return html`<ul class="chips" aria-label="Parameters that are said">
    ${said.map(
      ([name, value]) => html`<li key=${name} class="chip">
        <span>${labelOf(name)}${value === true ? "" : html` <b>${written(value)}</b>`}</span>
        <button type="button" aria-label=${`Leave out ${labelOf(name)}`} onClick=${() => wish.choose(name, undefined)}>×</button>
      </li>`,
    )}
  </ul>`;
}

/** Close the plan that an event is of. @param {Event} event @param {boolean} on */
const leave = (event, on) => {
  if (on) /** @type {HTMLDetailsElement} */ (event.currentTarget).open = false;
};

/** What the server would make of it and what that costs, or what is wrong. */
function Outcome() {
  const { state, planned, error } = wish.plan.value;
  if (state === "wrong") return html`<p id="outcome" class="outcome error" role="alert"><span>${error.message}</span></p>`;
  if (state === "empty" || !planned) return html`<p id="outcome" class="outcome" aria-live="polite">${state === "checking" ? "…" : ""}</p>`;
  const { jobs, total_cost_ms: cost, queue_position: before } = planned;
  const pictures = jobs.reduce((sum, job) => sum + (job.parameters.images ?? 4), 0);
  const list = jobs.reduce((sum, job) => sum + job.list_ms, 0);
  const price = cost ? `${gpuTime(cost)} of GPU time` : list ? `${gpuTime(list)} of GPU time, not counted` : "free";
  return html`<div id="outcome" class=${classes("outcome", state === "checking" && "stale")} aria-live="polite">
    <details class="plan" onFocusOut=${(/** @type {FocusEvent} */ event) => leave(event, !(/** @type {Node} */ (event.currentTarget).contains(/** @type {Node | null} */ (event.relatedTarget))))}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => leave(event, event.key === "Escape")}>
      <summary title="What would be drawn, and what it costs">
        ${counted(pictures, "picture")}${jobs.length > 1 ? ` in ${jobs.length} jobs` : ""} · ${price}${before ? ` · after ${counted(before, "job")}` : ""}
      </summary>
      <div class="plan-jobs" tabindex="0" role="region" aria-label="What would be drawn">
        ${jobs.map(
          (job, index) => html`<div key=${index}>
            <p class="plan-prompt">${job.prompt || "no words"}</p>
            <table><tbody>
              ${Object.entries(job.parameters).map(
                ([name, value]) => html`<tr key=${name}><th scope="row">${labelOf(name)}</th><td>${written(value)}</td><td class="muted">${job.sources[name] ?? ""}</td></tr>`,
              )}
            </tbody></table>
          </div>`,
        )}
      </div>
    </details>
  </div>`;
}
