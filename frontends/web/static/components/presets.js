// Presets: parameters that the account keeps under names, made of what the bar says, and said again by their name.

import { html, useEffect, useSignal } from "../lib/html.js";
import { call } from "../lib/api.js";
import { go } from "../lib/router.js";
import * as wish from "../lib/wish.js";
import { Dialog, askWords, confirm } from "./dialog.js";
import { Icon } from "./icon.js";
import { attempt, tell } from "./toasts.js";

/** @typedef {{name: string, parameters: string, made_ms: number}} Preset */

/** @param {{onClose: () => void}} properties */
export function PresetsDialog({ onClose }) {
  const presets = useSignal(/** @type {Preset[] | null} */ (null));
  const wrong = useSignal("");
  const load = () => attempt(async () => { presets.value = (await call("organize.presets")).presets; });
  useEffect(() => void load(), []);
  /** @param {() => Promise<unknown>} work */
  const change = async (work) => {
    wrong.value = "";
    try {
      await work();
      await load();
      return true;
    } catch (error) {
      wrong.value = error instanceof Error ? error.message : String(error);
      return false;
    }
  };
  /** @param {string} name @param {object} fields @param {() => Promise<unknown>} [then] */
  const put = async (name, fields, then = async () => {}) => {
    const there = presets.peek()?.some((each) => each.name === name);
    if (there && !(await confirm(`Replace the preset ${name}?`, "What it stands for now is forgotten.", "Replace"))) return false;
    return change(() => call("organize.preset.put", { name, ...fields }).then(then));
  };
  /** @param {Event} event */
  const keep = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const typed = String(new FormData(form).get("name"));
    const name = typed.trim();
    const { parameters, ...said } = wish.wanted.peek();
    if (await put(name, { parameters: flagsOf(said.prompt), values: parameters })) {
      if (new FormData(form).get("name") === typed) form.reset(); // else another one is being written
      tell(`Kept as ${name}.`);
    }
  };
  /** @param {Preset} preset */
  const rename = async (preset) => {
    const name = await askWords(`Rename ${preset.name}`, "New name", preset.name, "Rename");
    if (name === null || name === preset.name) return;
    const done = await put(name, { parameters: preset.parameters }, () => call("organize.preset.delete", { name: preset.name }));
    if (done && wish.chosen.peek().preset === preset.name) wish.choose("preset", name);
  };
  /** @param {Preset} preset */
  const remove = async (preset) => {
    if (!(await confirm(`Delete the preset ${preset.name}?`, "Prompts that name it are refused from then on.", "Delete"))) return;
    await change(() => call("organize.preset.delete", { name: preset.name }));
    if (wish.chosen.peek().preset === preset.name) wish.choose("preset", undefined);
  };
  /** @param {Preset} preset */
  const use = (preset) => {
    wish.choose("preset", wish.chosen.peek().preset === preset.name ? undefined : preset.name);
    onClose();
    if (!document.getElementById("prompt")) go("create"); // where the bar is
  };
  const said = [flagsOf(wish.prompt.value), ...Object.keys(wish.wanted.value.parameters)].some(Boolean);
  const chosen = wish.chosen.value.preset;
  return html`<${Dialog} title="Presets" class="wide" onClose=${onClose}>
    <p class="muted">A preset is a name for parameters; <code>--preset NAME</code> says it in a prompt, here and on the command line. What a prompt itself says wins over it.</p>
    ${wrong.value && html`<p class="error" role="alert">${wrong.value}</p>`}
    ${presets.value?.length === 0 && html`<p>There is none yet.</p>`}
    <ul class="presets">${(presets.value ?? []).map((preset) => html`<li key=${preset.name}>
      <strong>${preset.name}</strong><code>${preset.parameters}</code>
      <button type="button" aria-pressed=${chosen === preset.name} onClick=${() => use(preset)}>Use</button>
      <button type="button" class="round" aria-label=${`Rename ${preset.name}`} title="Rename" onClick=${() => rename(preset)}><${Icon} name="edit" /></button>
      <button type="button" class="round" aria-label=${`Delete ${preset.name}`} title="Delete" onClick=${() => remove(preset)}><${Icon} name="trash" /></button>
    </li>`)}</ul>
    <form class="row" onSubmit=${keep}>
      <label class="hidden" for="preset-name">Name of a new preset</label>
      <input id="preset-name" name="name" type="text" class="name" required maxlength="64" placeholder="A name, like wide" disabled=${!said} />
      <button type="submit" class="primary" disabled=${!said}>Keep what the bar says</button>
    </form>
    ${!said && html`<p class="muted">Choose some parameters in the bar first; then keep them here.</p>`}
  <//>`;
}

/** Return the parameters that are written in a prompt: they stand at its end. @param {string} prompt */
export const flagsOf = (prompt) => /(?:^|\s)((?:--|—)[a-z][\s\S]*)$/i.exec(prompt)?.[1]?.trim() ?? "";
