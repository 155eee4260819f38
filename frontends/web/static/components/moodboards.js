// Moodboards: pictures that are dropped together, whose common look is a style.

import { html, useEffect, useSignal } from "../lib/html.js";
import { bring, call, referenceUrl } from "../lib/api.js";
import { counted } from "../lib/format.js";
import { choose } from "../lib/wish.js";
import { focusBar } from "./bar.js";
import { confirm } from "./dialog.js";
import { Drop } from "./drop.js";
import { Icon } from "./icon.js";
import { nameOf, rename } from "./profiles.js";
import { attempt, tell } from "./toasts.js";

export function Moodboards() {
  const boards = useSignal(/** @type {any[] | null} */ (null));
  const load = () => attempt(async () => { boards.value = (await call("taste.profiles")).profiles.filter((/** @type {any} */ each) => each.kind === "moodboard"); });
  useEffect(() => void load(), []);
  /** @param {Blob[]} files @param {any} [board] */
  const put = (files, board) => attempt(async () => {
    if (!files.length) return;
    const digests = await Promise.all(files.map(bring));
    const number = (boards.peek()?.length ?? 0) + 1;
    const made = board
      ? await call("taste.profile.change", { profile: board.profile, add: digests })
      : await call("taste.profile.new", { name: `moodboard-${number}-${digests[0]?.slice(0, 4)}`, kind: "moodboard", pictures: digests });
    for (const left of made.left_out) tell(`${left.digest.slice(0, 8)} is left out: ${left.reason}`, { kind: "error" });
    await load();
  });
  /** @param {any} board */
  const remove = async (board) => {
    if (!(await confirm(`Delete ${nameOf(board)}?`, "Its codes stay.", "Delete"))) return;
    await attempt(() => call("taste.profile.delete", { profile: board.profile, codes: "keep" }));
    await load();
  };
  return html`<div class="profiles">
    <${Drop} label="Drop pictures here for a new moodboard, or choose files" onFiles=${(/** @type {Blob[]} */ files) => put(files)} />
    <ul class="cards">
      ${(boards.value ?? []).map((board) => html`<li key=${board.profile} class="card">
        <div class="row"><h2>${nameOf(board)}</h2>
          <button type="button" class="round" aria-label=${`Rename ${nameOf(board)}`} title="Rename" onClick=${() => rename(board, load)}><${Icon} name="edit" /></button>
          <button type="button" class="round" aria-label=${`Delete ${nameOf(board)}`} onClick=${() => remove(board)}><${Icon} name="trash" /></button></div>
        <div class="board">
          ${board.pictures.map((/** @type {string} */ digest) => html`<span key=${digest} class="board-picture">
            <img src=${referenceUrl(digest)} alt=${`Picture ${digest.slice(0, 8)}`} loading="lazy" decoding="async" />
            <button type="button" class="round small" aria-label=${`Take picture ${digest.slice(0, 8)} out`}
              onClick=${() => attempt(async () => { await call("taste.profile.change", { profile: board.profile, remove: [digest] }); await load(); })}>×</button>
          </span>`)}
        </div>
        <p class="muted">${counted(board.pictures.length, "picture")}</p>
        <div class="row"><button type="button" onClick=${() => { choose("profile", [[board.profile, 1]]); focusBar(); }}>Draw with it</button>
          <${Drop} small label=${`Add pictures to ${nameOf(board)}`} onFiles=${(/** @type {Blob[]} */ files) => put(files, board)} /></div>
      </li>`)}
    </ul>
  </div>`;
}
