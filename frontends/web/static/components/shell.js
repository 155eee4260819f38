// The frame of every view: navigation, the imagine bar, the account, and what lies above all.

import { html, useEffect, useSignal } from "../lib/html.js";
import { call, session, signOut } from "../lib/api.js";
import { connected } from "../lib/events.js";
import { gpuTime } from "../lib/format.js";
import { isCovered, isWriting, keyOf, useKeys } from "../lib/keys.js";
import { go, href, route } from "../lib/router.js";
import { VIEWS } from "../views/index.js";
import { ImagineBar, focusBar } from "./bar.js";
import { Dialog, Questions } from "./dialog.js";
import { Icon } from "./icon.js";
import { Lightbox } from "./lightbox.js";
import { Menu } from "./menu.js";
import { Toasts, attempt } from "./toasts.js";

/** @typedef {import("../views/index.js").View} View */

/** Keys that work everywhere, for the list of keys. */
const KEYS = [
  ["/", "Write in the imagine bar; in Create, any letter that is not here"], ["Enter", "Draw, or open a picture"], ["← ↑ → ↓", "Go from picture to picture"],
  ["v  b", "Vary subtly, strongly"], ["u", "Upscale"], ["z", "Zoom out"], ["g", "Change a region"], ["e", "Open in the editor"], ["r", "Again, with another seed"],
  ["l", "Like"], ["d", "Download"], ["p", "Use the prompt"], ["x", "Cancel"], ["Delete", "Delete"], ["?", "These keys"],
];

/** The views that this account may see. */
export function views() {
  const who = session.value;
  return VIEWS.filter((view) => (!view.operators || who?.role === "operator") && (!view.feature || who?.features.includes(view.feature)));
}

export function Shell() {
  const keys = useSignal(false);
  const all = views();
  const view = all.find((each) => each.path === route.value[0]) ?? all[0];
  useKeys((event) => {
    if (event.defaultPrevented || isWriting(event.target) || isCovered()) return;
    const key = keyOf(event);
    const found = views().find((each) => each.key.toUpperCase() === key);
    if (key === "/") focusBar();
    else if (key === "?") keys.value = true;
    else if (found) go(found.path);
    else return;
    event.preventDefault();
  });
  return html`<a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the pictures</a>
    <nav class="rail" aria-label="Views">
      <a class="brand" href=${href("create")} aria-label="Salon"><span class="mark" aria-hidden="true">S</span></a>
      <ul>
        ${all.filter((each) => !each.hidden).map((each) => html`<li key=${each.path}>
          <a href=${href(each.path)} aria-current=${each === view ? "page" : null} title=${`${each.name} (Shift+${each.key.toUpperCase()})`}><${Icon} name=${each.icon} /><span>${each.name}</span></a>
        </li>`)}
      </ul>
      <${Account} onKeys=${() => { keys.value = true; }} />
    </nav>
    <div class="page">
      ${!view?.barless && html`<${ImagineBar} />`}
      ${connected.value === false && html`<p class="offline" role="status">The server does not answer; trying again …</p>`}
      <main id="main" tabindex="-1">${view && html`<${Loaded} key=${view.path} view=${view} />`}</main>
    </div>
    <${Lightbox} /><${Questions} /><${Toasts} />
    ${keys.value && html`<${Dialog} title="Keys" class="small" onClose=${() => { keys.value = false; }}>
      <table class="keys"><tbody>
        ${[...KEYS, ...all.filter((each) => !each.hidden).map((each) => [`Shift ${each.key.toUpperCase()}`, each.name])].map(([key, text]) => html`<tr key=${key}><th scope="row"><kbd>${key}</kbd></th><td>${text}</td></tr>`)}
      </tbody></table>
    <//>`}`;
}

/** A view, once its module is there. @param {{view: View}} properties */
function Loaded({ view }) {
  const loaded = useSignal(/** @type {any} */ (null));
  const wrong = useSignal("");
  useEffect(() => {
    document.title = `${view.name} – Salon`;
    view.load().then((module) => { loaded.value = module; }, (error) => { wrong.value = error.message; });
  }, []);
  if (wrong.value) return html`<p class="error pad" role="alert">This view cannot be loaded: ${wrong.value}</p>`;
  return loaded.value && html`<${loaded.value.default} params=${route.value.slice(1)} />`;
}

/** @param {{onKeys: () => void}} properties */
function Account({ onKeys }) {
  const who = session.value;
  const theme = useSignal(document.documentElement.dataset.theme ?? "system");
  const info = useSignal(/** @type {any} */ (null));
  const look = () => void attempt(async () => { info.value = await call("info"); });
  /** @param {string} next */
  const choose = (next) => {
    theme.value = next;
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem("salon-theme");
      else localStorage.setItem("salon-theme", next);
    } catch {
      // Without storage it holds until the page is closed.
    }
  };
  const themes = () => [["system", "As the system has it"], ["light", "Light"], ["dark", "Dark"]].map(([id = "", label = ""]) => ({ id, label, icon: theme.value === id ? "check" : "theme", run: () => choose(id) }));
  const fast = info.value?.fast_ms;
  const left = fast ? Object.values(fast).reduce((/** @type {number} */ sum, each) => sum + Number(each), 0) : null;
  return html`<div class="account">
    <${Menu} label="Light or dark" icon="theme" class="rail-button theme" items=${themes} />
    <${Menu} label="Your account" icon="person" class="rail-button" onOpen=${look} items=${() => [
      { id: "who", label: `${info.value?.name || short(who?.account ?? "")}${info.value?.plan ? `, ${info.value.plan}` : ""}`, icon: "person", run: () => {} },
      ...(left !== null ? [{ id: "left", label: `${gpuTime(left)} of GPU time left`, icon: "gauge", run: () => {} }] : []),
      null,
      ...themes(),
      null,
      { id: "keys", label: "Keys", icon: "keys", key: "?", run: onKeys },
      ...(who?.keyless ? [] : [{ id: "out", label: "Sign out", icon: "close", run: () => void attempt(signOut) }]),
    ]} />
  </div>`;
}

/** @param {string} account */
const short = (account) => (account.length > 16 ? `${account.slice(0, 8)}…` : account);

