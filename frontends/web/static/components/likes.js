// All pictures that one likes, whoever made them; each can be looked at, drawn on from, and liked no longer.

import { html, useEffect } from "../lib/html.js";
import { counted } from "../lib/format.js";
import { Names } from "../lib/organize.js";
import { dropped } from "../lib/store.js";
import { Gallery, chooseNone } from "./gallery.js";

const names = new Names();
dropped.add((job) => names.drop(job));

export function Likes() {
  useEffect(() => {
    chooseNone();
    void names.load({ whose: "all", liked: true, states: ["done"] }, true);
  }, []);
  const { total, count, failed } = names;
  return html`<p class="organize-count muted" role="status">${failed.value
    ? html`<span class="error">${failed.value}</span>`
    : total.value.jobs < 0 ? "Looking …" : count.value ? `${counted(count.value, "picture")} that you like` : "You have liked no picture yet: L likes one."}</p>
  <${Gallery} names=${names} selects=${false} />`;
}
