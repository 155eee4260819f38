// Controls of parameters, drawn from the list that the server tells: what it learns to take appears here by itself.

import { classes, html, useId, useSignal } from "../lib/html.js";
import { ratio } from "../lib/format.js";

/** @typedef {import("../lib/types.js").ParameterInfo} ParameterInfo */

const ASPECTS = [[1, 1], [4, 3], [3, 2], [16, 9], [3, 4], [2, 3], [9, 16]];
const SEED = "seed"; // its range is no use as a slider
const WIDEST = 5000; // of a range that is drawn as a slider

/** What stands together; the rest is under "More". */
const GROUPS = [
  { title: "Picture", names: ["aspect", "images", "quality", "draft", "lane", "private", "seed", "repeat"] },
  { title: "Look", names: ["stylize", "raw", "style_weight", "chaos", "weird", "experimental", "image_weight", "image_strength", "tile"] },
];
const DRAWN = new Set(["whole", "number", "choice", "wholeof", "switch", "aspect", "text", "interval"]);

/** @param {string} name */
export const labelOf = (name) => {
  const words = name.replaceAll("_", " ");
  return words[0]?.toUpperCase() + words.slice(1);
};

/**
 * Write a value as the prompt language does, roughly: for labels.
 * @param {any} value
 * @returns {string}
 */
export function written(value) {
  if (value === true) return "on";
  if (value === false) return "off";
  if (Array.isArray(value)) {
    if (value.length === 2 && value.every((each) => typeof each === "number")) return value.join(":");
    return value.map((each) => (Array.isArray(each) ? String(each[0]) : String(each))).map((each) => (/^[0-9a-f]{64}$/.test(each) ? each.slice(0, 8) : each)).join(", ") || "yes";
  }
  return typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value);
}

/**
 * All controls.
 * @param {{specs: ParameterInfo[], values: Record<string, any>, inEffect?: Record<string, any>,
 *   onChange: (name: string, value: any) => void, jobKind?: string}} properties
 *   `inEffect`: what holds where nothing is chosen
 */
export function Controls({ specs, values, inEffect = {}, onChange, jobKind = "imagine" }) {
  const all = useSignal(false);
  const usable = specs.filter(
    (spec) => !spec.missing && DRAWN.has(spec.kind) && (!spec.job_kinds.length || spec.job_kinds.includes(jobKind)),
  );
  const grouped = new Set(GROUPS.flatMap((group) => group.names));
  const groups = GROUPS.map(({ title, names }) => ({
    title,
    specs: names.flatMap((name) => usable.filter((spec) => spec.name === name)),
  }));
  if (all.value) groups.push({ title: "More", specs: usable.filter((spec) => !grouped.has(spec.name)) });
  return html`<div class="controls">
    ${groups.map(
      (group) => html`<fieldset key=${group.title}>
        <legend>${group.title}</legend>
        ${group.specs.map(
          (spec) => html`<${Control} key=${spec.name} spec=${spec} value=${values[spec.name]} inEffect=${inEffect[spec.name]}
            onChange=${(/** @type {any} */ value) => onChange(spec.name, value)} />`,
        )}
      </fieldset>`,
    )}
    <button type="button" class="quiet" aria-expanded=${all.value} onClick=${() => { all.value = !all.value; }}>
      ${all.value ? "Fewer parameters" : "All parameters"}
    </button>
  </div>`;
}

/** @param {{spec: ParameterInfo, value: any, inEffect: any, onChange: (value: any) => void}} properties */
function Control({ spec, value, inEffect, onChange }) {
  const id = useId();
  const said = value !== undefined;
  const Field = FIELDS[spec.kind] ?? Text;
  return html`<div class=${classes("control", said && "said")} title=${`${spec.help}${spec.flags[0] ? ` (${spec.flags[0]})` : ""}`}>
    <label for=${id} id=${`${id}-label`}>${labelOf(spec.name)}</label>
    <div class="field"><${Field} id=${id} spec=${spec} value=${value} inEffect=${inEffect} onChange=${onChange} /></div>
    <button type="button" class="round small" aria-label=${`${labelOf(spec.name)}: back to what holds by itself`}
      style=${{ visibility: said ? "visible" : "hidden" }} onClick=${() => onChange(undefined)}>×</button>
  </div>`;
}

/**
 * Keep what is being typed over what is drawn anew meanwhile; spread into an input that says `onChange` itself.
 * @param {string} shown what stands there while nobody types
 */
export function useDraft(shown) {
  const typed = useSignal(/** @type {string | null} */ (null));
  return {
    value: typed.value ?? shown,
    onInput: (/** @type {Event} */ event) => { typed.value = /** @type {HTMLInputElement} */ (event.target).value; },
    onBlur: () => { typed.value = null; },
  };
}

/** @param {any} properties */
function Range({ id, spec, value, inEffect, onChange }) {
  const whole = spec.kind === "whole";
  const low = spec.low ?? 0;
  const high = spec.high ?? 100;
  const slides = spec.name !== SEED && high - low <= WIDEST;
  const holds = value ?? (typeof inEffect === "number" ? inEffect : Number.parseFloat(spec.default));
  /** @param {Event} event */
  const changed = (event) => {
    const text = /** @type {HTMLInputElement} */ (event.target).value;
    const number = Number(text);
    if (text === "" || Number.isNaN(number)) onChange(undefined);
    else onChange(spec.name === SEED && /^\d{16,20}$/.test(text) ? text : number); // as its digits: see `parse`
  };
  const draft = useDraft(value === undefined ? "" : String(value)); // settings are sent with every digit
  const step = whole ? 1 : high - low <= 5 ? 0.05 : 1;
  return html`
    ${slides && html`<input type="range" tabindex="-1" aria-labelledby=${`${id}-label`} min=${low} max=${high} step=${step}
      value=${Number.isNaN(holds) ? low : holds} onInput=${changed} />`}
    <input id=${id} type="number" inputmode=${whole ? "numeric" : "decimal"} class=${slides ? "short" : ""} min=${low} max=${high} step="any"
      ...${draft} placeholder=${spec.name === SEED ? "random" : Number.isNaN(holds) ? "auto" : written(holds)}
      onInput=${(/** @type {Event} */ event) => { draft.onInput(event); changed(event); }} />`;
}

/** @param {any} properties */
function Choice({ id, spec, value, inEffect, onChange }) {
  const whole = spec.kind === "wholeof";
  const choices = whole ? spec.allowed.split(" or ") : spec.choices;
  const holds = inEffect ?? spec.default;
  /** @param {Event} event */
  const changed = (event) => {
    const text = /** @type {HTMLSelectElement} */ (event.target).value;
    onChange(text === "" ? undefined : whole ? Number(text) : text);
  };
  return html`<select id=${id} value=${value === undefined ? "" : String(value)} onChange=${changed}>
    <option value="">auto (${written(holds)})</option>
    ${choices.map((/** @type {string} */ each) => html`<option key=${each} value=${each}>${each}</option>`)}
  </select>`;
}

/** @param {any} properties */
function Switch({ id, value, inEffect, onChange }) {
  const on = value ?? inEffect ?? false;
  return html`<input id=${id} type="checkbox" role="switch" class="switch" checked=${Boolean(on)}
    onChange=${(/** @type {Event} */ event) => onChange(/** @type {HTMLInputElement} */ (event.target).checked)} />`;
}

/** @param {any} properties */
function Aspect({ id, value, inEffect, onChange }) {
  const holds = value ?? inEffect ?? [1, 1];
  const now = ratio(holds[0], holds[1]);
  const draft = useDraft(value ? value.join(":") : "");
  /** @param {Event} event */
  const typed = (event) => {
    const found = /^\s*(\d+)\s*[:x/]\s*(\d+)\s*$/.exec(/** @type {HTMLInputElement} */ (event.target).value);
    onChange(found ? [Number(found[1]), Number(found[2])] : undefined);
  };
  return html`<div class="aspects" role="group" aria-labelledby=${`${id}-label`}>
      ${ASPECTS.map(([wide = 1, high = 1]) => {
        const name = `${wide}:${high}`;
        const scale = 18 / Math.max(wide, high);
        return html`<button key=${name} type="button" aria-pressed=${now === name} title=${name} onClick=${() => onChange([wide, high])}>
          <span class="shape" style=${{ width: `${wide * scale}px`, height: `${high * scale}px` }}></span><span>${name}</span>
        </button>`;
      })}
    </div>
    <input id=${id} type="text" class="short" placeholder=${now} aria-label="Aspect, as 16:9" ...${draft} onChange=${typed} />`;
}

/** @param {any} properties */
function Text({ id, spec, value, onChange }) {
  const pair = spec.kind === "interval";
  const draft = useDraft(value === undefined ? "" : written(value));
  /** @param {Event} event */
  const changed = (event) => {
    const text = /** @type {HTMLInputElement} */ (event.target).value.trim();
    onChange(text === "" ? undefined : pair ? text.split(":").map(Number) : text);
  };
  return html`<input id=${id} type="text" placeholder=${spec.default} ...${draft} onChange=${changed} />`;
}

/** @type {Record<string, any>} */
const FIELDS = { whole: Range, number: Range, choice: Choice, wholeof: Choice, switch: Switch, aspect: Aspect, text: Text, interval: Text };
