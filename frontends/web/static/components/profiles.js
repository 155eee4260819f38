// Profiles: what an account likes, how well that is known, and the codes that stand for it.

import { html, useEffect, useSignal } from "../lib/html.js";
import { call } from "../lib/api.js";
import { clock, counted, dayName } from "../lib/format.js";
import { go } from "../lib/router.js";
import { choose } from "../lib/wish.js";
import { copy } from "../lib/actions.js";
import { focusBar } from "./bar.js";
import { Dialog, askWords, confirm } from "./dialog.js";
import { Icon } from "./icon.js";
import { Menu } from "./menu.js";
import { attempt } from "./toasts.js";

const SHOWN = 12; // of what is liked

/** @param {number} share */
const percent = (share) => `${Math.round(share * 100)} %`;

/** What a profile is called. @param {any} profile */
export const nameOf = (profile) => profile.name || (profile.kind === "global" ? "Yours" : profile.profile);

/** Ask for another name of a profile or moodboard, and give it. @param {any} profile @param {() => Promise<void>} then */
export async function rename(profile, then) {
  const name = await askWords(`Rename ${nameOf(profile)}`, "New name", nameOf(profile), "Rename");
  if (name) await attempt(async () => { await call("taste.profile.change", { profile: profile.profile, name }); await then(); });
}

export function Profiles() {
  const profiles = useSignal(/** @type {any[] | null} */ (null));
  const report = useSignal(/** @type {any} */ (null));
  const load = () => attempt(async () => { profiles.value = (await call("taste.profiles")).profiles; });
  useEffect(() => void load(), []);

  /** @param {SubmitEvent} event */
  const add = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const name = new FormData(form).get("name");
    const made = await attempt(() => call("taste.profile.new", { name }));
    if (!made) return;
    if (new FormData(form).get("name") === name) form.reset(); // else another one is being written
    await load();
  };
  /** @param {any} profile */
  const remove = async (profile) => {
    const found = await attempt(() => call("taste.profile.delete", { profile: profile.profile }));
    if (!found) return;
    const used = `${counted(found.codes.length, "code")} of it and ${counted(found.num_jobs, "job")} drawn with it stay as they are.`;
    if (!(await confirm(`Delete ${nameOf(profile)}?`, used, "Delete"))) return;
    await attempt(() => call("taste.profile.delete", { profile: profile.profile, codes: "keep" }));
    await load();
  };
  if (profiles.value === null) return html`<p class="muted pad">…</p>`;
  return html`<div class="profiles">
    <ul class="cards">
      ${profiles.value.filter((each) => each.kind !== "moodboard").map((profile) => html`<li key=${profile.profile} class="card">
        <div class="row"><h2>${nameOf(profile)}</h2>${profile.public && html`<span class="badge">public</span>`}
          <${Menu} label=${`More for ${nameOf(profile)}`} items=${() => [
            { id: "codes", label: "Its code", icon: "copy", run: () => void showCode(profile) },
            ...(profile.kind === "global" ? [] : [
              { id: "rename", label: "Rename", icon: "edit", run: () => void rename(profile, load) },
              { id: "public", label: profile.public ? "Make it private" : "Make it public", icon: "globe", run: () => void attempt(async () => { await call("taste.profile.change", { profile: profile.profile, public: !profile.public }); await load(); }) },
              { id: "delete", label: "Delete", icon: "trash", danger: true, run: () => void remove(profile) },
            ]),
          ]} /></div>
        ${profile.kind === "tuner" ? html`<p class="muted">${counted(profile.styles.length, "style")}</p>` : html`
          <progress max=${profile.needed || 1} value=${profile.events} aria-label=${`Choices of ${nameOf(profile)}`}></progress>
          <p class="muted">${profile.events < profile.needed ? `${profile.events} of ${profile.needed} choices` : counted(profile.events, "choice")}</p>`}
        <div class="row">
          ${profile.kind !== "tuner" && html`<button type="button" onClick=${() => go("personalize", "pairs", profile.kind === "global" ? "" : profile.profile)}>Choose pairs</button>`}
          ${(profile.events >= profile.needed || profile.kind === "tuner") && html`<button type="button" onClick=${() => { choose("profile", profile.kind === "global" ? [] : [[profile.profile, 1]]); focusBar(); }}>Draw with it</button>`}
          <button type="button" class="quiet" onClick=${() => attempt(async () => { report.value = await call("taste.report", { profile: profile.kind === "global" ? "" : profile.profile }); })}>Report</button>
        </div>
      </li>`)}
    </ul>
    ${!profiles.value.length && html`<p class="muted">There is none yet. Choose between some pairs, and yours begins; or add another by name, for one mood or project.</p>`}
    <form class="row" onSubmit=${add}><label class="hidden" for="profile-name">Name of a new profile</label>
      <input id="profile-name" name="name" type="text" required placeholder="A new profile" class="name" /><button>Add</button></form>
    <${Codes} />
    ${report.value && html`<${Report} report=${report.value} onClose=${() => { report.value = null; }} />`}
  </div>`;
}

/** @param {any} profile */
async function showCode(profile) {
  const found = await attempt(() => call("taste.codes", { profile: profile.profile }));
  if (found?.codes[0]) await copy(found.codes[0].code, `Code ${found.codes[0].code} is`);
}

/** All codes, each with its label. */
function Codes() {
  const codes = useSignal(/** @type {any[]} */ ([]));
  const load = () => attempt(async () => { codes.value = (await call("taste.codes")).codes; });
  useEffect(() => void load(), []);
  if (!codes.value.length) return null;
  /** @param {any} code */
  const revoke = async (code) => {
    if (!(await confirm(`Revoke ${code.code}?`, "Naming it becomes an error for everybody.", "Revoke"))) return;
    await attempt(() => call("taste.revoke", { code: code.code }));
    await load();
  };
  return html`<section class="codes"><h2>Codes</h2>
    <table class="plain-table"><thead><tr><th scope="col">Code</th><th scope="col">Of</th><th scope="col" class="num">Choices</th><th scope="col">Made</th><th scope="col"><span class="hidden">Acts</span></th></tr></thead><tbody>
      ${codes.value.map((code) => html`<tr key=${code.code}>
        <td><button type="button" class="text-button" title="Copy it" onClick=${() => copy(code.code, "The code is")}><code>${code.code}</code></button></td>
        <td>${code.name || (code.kind === "global" ? "Yours" : code.kind)}${code.shows !== "profile" ? `, ${code.shows}` : ""}</td>
        <td class="num">${code.events}</td><td>${dayName(code.made_ms)}, ${clock(code.made_ms)}</td>
        <td class="num">${code.revoked ? html`<span class="muted">revoked</span>` : html`<button type="button" class="quiet danger-text" onClick=${() => revoke(code)}>Revoke</button>`}</td>
      </tr>`)}
    </tbody></table></section>`;
}

/** What was learned, and how sure that is. @param {{report: any, onClose: () => void}} properties */
function Report({ report, onClose }) {
  const { held_out: held, liked } = report;
  const best = liked.slice(0, SHOWN);
  const most = Math.max(0.01, ...best.map((/** @type {any} */ each) => Math.abs(each.utility)));
  return html`<${Dialog} title=${`Report: ${nameOf(report.profile)}`} class="wide" onClose=${onClose}>
    ${report.verdict && html`<p class="verdict">It ${({ strong: "works well", weak: "works a little" })[/** @type {string} */ (report.verdict)] ?? report.verdict}.</p>`}
    <table class="plain-table"><tbody>
      <tr><th scope="row">Choices that it predicts without having been told</th><td class="num">${percent(held.value)}</td><td class="muted">${percent(held.low)} to ${percent(held.high)}, of ${held.count}</td></tr>
      <tr><th scope="row">Your choices that it agrees with</th><td class="num">${percent(report.consistency)}</td><td></td></tr>
      <tr><th scope="row">A picture in your style is chosen before any other</th><td class="num">${percent(report.effect)}</td><td></td></tr>
    </tbody></table>
    ${best.length > 0 && html`<h3>Liked most</h3><ul class="liked">
      ${best.map((/** @type {any} */ each) => html`<li key=${each.factor + each.name}><span>${each.name} <span class="muted">${each.factor}</span></span>
        <meter min="0" max=${most} value=${Math.max(0, each.utility)} aria-label=${`${each.name}, ${each.factor}`}></meter></li>`)}
    </ul>`}
    ${report.code && html`<p class="row">Code <code>${report.code}</code><button type="button" class="quiet" onClick=${() => copy(report.code, "The code is")}><${Icon} name="copy" /><span>Copy</span></button></p>`}
  <//>`;
}
