// Personalize: choose between pairs by keys or by hand, and see what was learned.

import { html, useEffect, useRef } from "../lib/html.js";
import { isCovered, isWriting, keyOf, useKeys } from "../lib/keys.js";
import { go, href } from "../lib/router.js";
import * as taste from "../lib/taste.js";
import { Grids, History } from "../components/grids.js";
import { Icon } from "../components/icon.js";
import { Likes } from "../components/likes.js";
import { tell, tellError } from "../components/toasts.js";
import { Moodboards } from "../components/moodboards.js";
import { Profiles } from "../components/profiles.js";

/** @typedef {import("../lib/taste.js").Choice} Choice */

const SWIPE = 60; // pixels
const TABS = [["pairs", "Pairs"], ["grids", "Grids"], ["likes", "Likes"], ["history", "History"], ["profiles", "Profiles"], ["moodboards", "Moodboards"]];

/** @param {{params: string[]}} properties */
export default function Personalize({ params }) {
  const tab = params[0] ?? "pairs";
  const tabs = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [tab]); // on phones
  return html`<div class="personal">
    <h1 class="hidden">Personalize</h1>
    <nav ref=${tabs} class="tabs" aria-label="Personalize">
      ${TABS.map(([id = "", label]) => html`<a key=${id} href=${href("personalize", id)} aria-current=${tab === id ? "page" : null}>${label}</a>`)}
    </nav>
    <${{ grids: Grids, likes: Likes, history: History, profiles: Profiles, moodboards: Moodboards }[tab] ?? Pairs} key=${tab} profile=${params[1] ?? ""} />
  </div>`;
}

/** @param {{profile: string}} properties */
function Pairs({ profile }) {
  const touch = useRef({ x: 0, y: 0 });
  const shown = taste.pair.value;
  const { events, needed, code } = taste.taught.value;
  useEffect(() => {
    void taste.begin(profile);
  }, [profile]);

  /** @param {Choice} choice */
  const choose = (choice) => {
    if (!taste.pair.peek()) return;
    taste.answer(choice, tellError);
  };
  const undo = () => taste.undo().then((done) => done && tell("The last choice is taken back: choose anew."), tellError);
  useKeys((event) => {
    if (isWriting(event.target) || isCovered()) return;
    const key = keyOf(event);
    const choice = /** @type {Record<string, Choice>} */ ({ ArrowLeft: "left", ArrowRight: "right", ArrowDown: "skip" })[key];
    if (choice) event.repeat || choose(choice); // a key that is held chooses once
    else if (key === "z") event.repeat || void undo();
    else return;
    event.preventDefault();
  });

  if (taste.without.value) {
    return html`<div class="welcome"><h2>No pairs to show</h2><p class="error" role="alert">${taste.without.value}</p>
      <button type="button" onClick=${() => taste.begin(profile)}>Try again</button></div>`;
  }
  /** @param {"left" | "right"} side */
  const half = (side) => {
    const picture = shown?.[side];
    return html`<button type="button" class="choice" aria-label=${`The ${side} one: ${picture?.prompt ?? ""}`} disabled=${!picture} onClick=${() => choose(side)}>
      ${picture && html`<img src=${taste.urlOf(picture)} width=${picture.width} height=${picture.height} alt="" draggable=${false} />`}
      <kbd aria-hidden="true">${side === "left" ? "←" : "→"}</kbd>
    </button>`;
  };
  const share = needed ? Math.min(1, events / needed) : 0;
  return html`<div class="pairs"
      onPointerDown=${(/** @type {PointerEvent} */ event) => { touch.current = { x: event.clientX, y: event.clientY }; }}
      onPointerUp=${(/** @type {PointerEvent} */ event) => {
        if (event.pointerType !== "touch") return;
        const across = event.clientX - touch.current.x;
        const down = event.clientY - touch.current.y;
        if (down > SWIPE && down > Math.abs(across)) choose("skip");
        else if (Math.abs(across) > SWIPE) choose(across < 0 ? "right" : "left");
      }}>
    <p class="pairs-title">Which one do you like better?</p>
    <div class="halves">${half("left")}${half("right")}</div>
    <div class="row pairs-acts">
      <button type="button" disabled=${!shown} onClick=${() => choose("skip")}>Neither <kbd>↓</kbd></button>
      <button type="button" class="quiet" onClick=${undo}><${Icon} name="undo" /><span>Undo</span> <kbd>Z</kbd></button>
    </div>
    <div class="learned">
      <progress max="1" value=${share} aria-label="Choices so far"></progress>
      <p class="muted" role="status">${!shown && !needed ? "The first pictures are coming …" : events < needed
        ? `${events} of ${needed} choices until your profile can be used`
        : html`${events} choices. ${code ? html`Your code: <code>${code}</code>. ` : ""}<button type="button" class="quiet" onClick=${() => go("personalize", "profiles")}>What was learned</button>`}</p>
    </div>
  </div>`;
}
