// Chat: say what shall be different, turn by turn. Each turn shows the prompt that it became, which can be edited.

import { html, useEffect, useLayoutEffect, useRef, useSignal } from "../lib/html.js";
import { call, callOnce } from "../lib/api.js";
import { clock, dayName } from "../lib/format.js";
import { go, href, route } from "../lib/router.js";
import { find } from "../lib/store.js";
import { confirm } from "../components/dialog.js";
import { Icon } from "../components/icon.js";
import { JobCard } from "../components/jobcard.js";
import { attempt } from "../components/toasts.js";

/** @typedef {import("../lib/store.js").Job} Job */
/**
 * @typedef {{number: number, at_ms: number, behind: number, text: string, prompt: string, by: string, notes: string[], job: string}} Turn
 * @typedef {{chat: number, title: string, turns: number, changed_ms: number}} Summary
 */

const IDEAS = ["a red apple, 3d, on a teal background", "a castle, woodcut, sepia tones", "a fox, watercolor"];
const PREVIEW_EVERY = 4; // steps

/** @param {{params: string[]}} properties */
export default function Chat({ params: [id = ""] }) {
  const listed = useSignal(false); // on phones, where the list lies above the conversation
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const close = () => {
    if (!listed.peek()) return;
    listed.value = false;
    button.current?.focus();
  };
  const draft = useSignal(""); // what is being written, also while a first turn becomes a conversation
  const writing = useRef(false); // in the field of one that is about to be made
  const chats = useSignal(/** @type {Summary[]} */ ([]));
  const next = useSignal(0);
  const load = (before = 0) => attempt(async () => {
    const page = await call("chat.list", { before, limit: 30 });
    chats.value = before ? [...chats.peek(), ...page.chats] : page.chats;
    next.value = page.next;
  });
  useEffect(() => void load(), [id]);
  /** @param {Summary} chat */
  const remove = async (chat) => {
    if (!(await confirm("Delete this conversation?", "Its pictures stay.", "Delete"))) return;
    if (!(await attempt(() => call("chat.delete", { chat: chat.chat })))) return;
    if (String(chat.chat) === id) go("chat");
    await load();
  };
  return html`<div class="chat" data-list=${listed.value ? "open" : "closed"} onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === "Escape") close(); }}>
    <h1 class="hidden">Chat</h1>
    <button ref=${button} type="button" class="quiet chats-button" aria-expanded=${listed.value} aria-controls="chats" onClick=${() => { listed.value = !listed.peek(); }}>
      <${Icon} name=${listed.value ? "close" : "chat"} /><span>Conversations</span></button>
    <aside id="chats" class="chats" aria-label="Conversations" onClick=${(/** @type {Event} */ event) => { if (/** @type {Element} */ (event.target).closest("a")) close(); }}>
      <a class="chat-new" href=${href("chat")} aria-current=${id ? null : "page"}><${Icon} name="plus" /><span>New</span></a>
      <ul>${chats.value.map((chat) => html`<li key=${chat.chat}>
        <a href=${href("chat", chat.chat)} aria-current=${String(chat.chat) === id ? "page" : null}><span>${chat.title || "Without words"}</span><span class="muted">${dayName(chat.changed_ms)}</span></a>
        <button type="button" class="round small" aria-label=${`Delete ${chat.title}`} onClick=${() => remove(chat)}><${Icon} name="trash" /></button>
      </li>`)}</ul>
      ${next.value > 0 && html`<button type="button" class="quiet" onClick=${() => load(next.value)}>Older</button>`}
    </aside>
    <${Talk} key=${id} id=${id} draft=${draft} writing=${writing} />
  </div>`;
}

/**
 * One conversation; without an id a new one.
 * @param {{id: string, draft: import("@preact/signals-core").Signal<string>, writing: {current: boolean}}} properties
 */
function Talk({ id, draft, writing }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useLayoutEffect(() => {
    if (writing.current) field.current?.focus();
    writing.current = false;
  }, []);
  const turns = useSignal(/** @type {Turn[]} */ ([]));
  const wrong = useSignal("");
  const busy = useSignal(false);
  useEffect(() => {
    if (!id) return;
    (async () => {
      /** @type {Turn[]} */
      let found = [];
      for (let more = true; more; ) {
        const page = await call("chat.show", { chat: Number(id), after: found.at(-1)?.number ?? 0 });
        found = [...found, ...page.turns];
        more = page.more && page.turns.length > 0;
      }
      turns.value = found;
    })().catch((error) => { wrong.value = error.message; });
  }, [id]);

  /** @param {{text: string, prompt?: string | null, turn?: number}} said `turn`: the one that it goes on from; 0: the last */
  const say = async ({ text, prompt = null, turn = 0 }) => {
    busy.value = true;
    wrong.value = "";
    try {
      const told = await callOnce("chat.say", { chat: Number(id), text, prompt, turn, preview_every: PREVIEW_EVERY });
      if (id) turns.value = [...turns.peek(), told.turn];
      else if (route.peek().join() === "chat") { // unless one has gone elsewhere meanwhile
        writing.current = document.activeElement === field.current;
        go("chat", told.chat);
      }
      return true;
    } catch (error) {
      wrong.value = error instanceof Error ? error.message : String(error);
      return false;
    } finally {
      busy.value = false;
    }
  };
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const written = draft.peek();
    const text = written.trim();
    if (text && (await say({ text })) && draft.peek() === written) draft.value = ""; // else the next is being written
  };
  return html`<section class="talk" aria-label="Conversation">
    <div class="turns" role="log" aria-live="polite" tabindex="0"><div>
      ${!turns.value.length && !id && html`<div class="welcome"><h2>What shall be drawn?</h2><p class="muted">Say it; then say what shall be different. Each turn is a draft, and the prompt that it became is shown.</p>
        <ul class="ideas">${IDEAS.map((idea) => html`<li key=${idea}><button type="button" onClick=${() => say({ text: idea })}>${idea}</button></li>`)}</ul></div>`}
      ${turns.value.map((turn) => html`<${TurnView} key=${turn.number} turn=${turn} onEdit=${(/** @type {string} */ prompt) => say({ text: turn.text, prompt, turn: turn.behind })} />`)}
    </div></div>
    ${wrong.value && html`<p class="error" role="alert">${wrong.value}</p>`}
    <form class="say" onSubmit=${submit}>
      <label class="hidden" for="say">Say what shall be different</label>
      <input id="say" ref=${field} name="text" type="text" value=${draft.value} onInput=${(/** @type {Event} */ event) => { draft.value = /** @type {HTMLInputElement} */ (event.target).value; }} autocomplete="off" maxlength="2000" placeholder=${turns.value.length ? "make it blue, add a hat, at night, more like the second …" : "a red apple, 3d, on a teal background"} />
      <button class="primary" disabled=${busy.value}><${Icon} name="send" /><span>Say</span></button>
    </form>
  </section>`;
}

/** @param {{turn: Turn, onEdit: (prompt: string) => void}} properties */
function TurnView({ turn, onEdit }) {
  const job = useSignal(/** @type {Job | null} */ (null));
  const edited = useSignal(turn.prompt);
  useEffect(() => {
    if (turn.job) find(turn.job).then((found) => { job.value = found; }, () => {}); // it may be deleted
  }, [turn.number]);
  return html`<article class="turn" aria-label=${turn.text}>
    <p class="said">${turn.text}<span class="muted">${clock(turn.at_ms)}</span></p>
    <form class="became" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); onEdit(edited.value); }}>
      <label class="hidden" for=${`turn-${turn.number}`}>The prompt that it became</label>
      <textarea id=${`turn-${turn.number}`} rows="1" value=${edited.value} onInput=${(/** @type {Event} */ event) => { edited.value = /** @type {HTMLTextAreaElement} */ (event.target).value; }}></textarea>
      ${edited.value !== turn.prompt && html`<button type="submit">Draw this instead</button>`}
    </form>
    ${turn.notes.map((note) => html`<p key=${note} class="muted">${note}</p>`)}
    ${job.value && html`<${JobCard} job=${job.value} />`}
  </article>`;
}
