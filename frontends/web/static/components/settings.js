// What an account keeps: parameters and a suffix for all of its prompts.

import { html, useSignal } from "../lib/html.js";
import * as wish from "../lib/wish.js";
import { Controls, useDraft } from "./controls.js";
import { Dialog, confirm } from "./dialog.js";

/** @param {{onClose: () => void}} properties */
export function SettingsDialog({ onClose }) {
  const wrong = useSignal("");
  const { parameters, suffix } = wish.settings.value;
  const draft = useDraft(suffix);
  /** @param {() => Promise<void>} work */
  const change = async (work) => {
    wrong.value = "";
    try {
      await work();
    } catch (error) {
      wrong.value = error instanceof Error ? error.message : String(error);
    }
  };
  const reset = async () => {
    if (await confirm("Reset the settings?", "All kept parameters and the suffix are forgotten.", "Reset")) {
      await change(() => wish.changeSettings({ reset: true, suffix: "" }));
    }
  };
  return html`<${Dialog} title="Settings" class="wide" onClose=${onClose}>
    <p class="muted">They hold for all your prompts, here and on the command line. What a prompt itself says wins over them.</p>
    <label class="stack">Suffix, added to every prompt
      <input type="text" ...${draft} placeholder="--ar 3:2 --raw"
        onChange=${(/** @type {Event} */ event) => change(() => wish.changeSettings({ suffix: /** @type {HTMLInputElement} */ (event.target).value }))} />
    </label>
    ${wrong.value && html`<p class="error" role="alert">${wrong.value}</p>`}
    <${Controls} specs=${wish.specs.value} values=${parameters} onChange=${(/** @type {string} */ name, /** @type {any} */ value) => change(() => wish.chooseSetting(name, value))} />
    <div class="row end"><button class="danger-text" onClick=${reset}>Reset all</button></div>
  <//>`;
}
