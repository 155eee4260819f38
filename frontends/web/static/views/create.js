// Create: one's jobs, newest first, with their pictures as they form.

import { html, useEffect, useRef, useSignal } from "../lib/html.js";
import { dayName } from "../lib/format.js";
import { isCovered, isWriting, keyOf, useKeys } from "../lib/keys.js";
import { makings, ofJob, uses } from "../lib/actions.js";
import { known, loadOlder, older, order } from "../lib/store.js";
import { focusBar, write } from "../components/bar.js";
import { JobCard } from "../components/jobcard.js";
import { tellError } from "../components/toasts.js";

const IDEAS = [
  "a red apple", "a castle, woodcut, sepia tones --ar 3:2", "a fox, watercolor, pastel tones --c 40", "a {red, green} balloon --draft",
];

/** Keys of this view and of the page, beside views' own with Shift; every other letter begins a prompt. */
const USED = new Set("vbuzegldrpxjk/? ");

export default function Create() {
  const jobs = order.value;
  useKeys(pressed);
  if (!jobs.length) return older.value < 0 ? html`<${Skeleton} />` : html`<${Welcome} />`;
  /** @type {[string, typeof jobs][]} */
  const days = [];
  for (const job of jobs) {
    const name = dayName(job.info.peek().made_ms);
    const last = days.at(-1);
    if (last?.[0] === name) last[1].push(job);
    else days.push([name, [job]]);
  }
  return html`<div class="feed" aria-busy=${older.value < 0}>
    <h1 class="hidden">Create</h1>
    ${days.map(([name, found]) => html`<section key=${name} aria-label=${name}>
      <h2 class="day">${name}</h2>
      ${found.map((job) => html`<${JobCard} key=${job.id} job=${job} />`)}
    </section>`)}
    <${More} many=${jobs.length} />
  </div>`;
}

/** Loads older jobs when it comes into sight. @param {{many: number}} properties `many`: jobs that are shown */
function More({ many }) {
  const end = useRef(/** @type {HTMLDivElement | null} */ (null));
  const long = useSignal(false); // whether there is more than one screen
  useEffect(() => {
    const look = () => {
      long.value = end.current !== null && end.current.getBoundingClientRect().top + scrollY > innerHeight;
    };
    const observer = new ResizeObserver(look);
    if (end.current?.parentElement) observer.observe(end.current.parentElement);
    addEventListener("resize", look);
    return () => {
      observer.disconnect();
      removeEventListener("resize", look);
    };
  }, [many]);
  const loading = useSignal(false);
  useEffect(() => {
    const load = async () => {
      if (loading.peek() || older.peek() <= 0) return;
      loading.value = true;
      try {
        await loadOlder();
      } catch (error) {
        tellError(error);
      }
      loading.value = false;
    };
    const observer = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && void load(), { rootMargin: "800px" });
    if (end.current) observer.observe(end.current);
    return () => observer.disconnect();
  }, [older.value]);
  return html`<div ref=${end} class="more muted">${older.value > 0 ? "Older pictures …" : long.value ? "That is all." : ""}</div>`;
}

function Skeleton() {
  return html`<div class="feed" aria-busy="true"><h1 class="hidden">Create</h1>${[0, 1].map((each) => html`<div key=${each} class="job ghost"><div class="tiles" data-count="4">${[0, 1, 2, 3].map((tile) => html`<div key=${tile} class="tile" style=${{ aspectRatio: "1 / 1" }}></div>`)}</div></div>`)}</div>`;
}

function Welcome() {
  return html`<div class="welcome">
    <h1>Nothing drawn yet</h1>
    <p class="muted">Write what you would like to see in the bar above, and press Enter. Or begin with one of these:</p>
    <ul class="ideas">${IDEAS.map((idea) => html`<li key=${idea}><button type="button" onClick=${() => write(idea)}>${idea}</button></li>`)}</ul>
  </div>`;
}

/** Keys on pictures: arrows go from one to the next, letters make something of it. @param {KeyboardEvent} event */
function pressed(event) {
  if (event.defaultPrevented || isWriting(event.target) || isCovered()) return;
  const key = keyOf(event);
  if (key.length === 1 && !event.shiftKey && !USED.has(key)) {
    focusBar(); // before the letter is written: it arrives there
    return;
  }
  const tiles = /** @type {HTMLButtonElement[]} */ ([...document.querySelectorAll(".feed .tile-open:not(:disabled)")]);
  const here = tiles.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const to = { ArrowRight: here + 1, j: here + 1, ArrowLeft: here - 1, k: here - 1, ArrowDown: row(tiles, here, 1), ArrowUp: row(tiles, here, -1) }[key];
  if (to !== undefined && tiles.length) {
    if (here < 0 && key.startsWith("ArrowU")) return;
    const tile = tiles[Math.max(0, Math.min(to, tiles.length - 1))];
    tile?.focus();
    tile?.scrollIntoView({ block: "nearest" });
    event.preventDefault();
    return;
  }
  const tile = tiles[here];
  const job = known.get(tile?.dataset.job ?? /** @type {HTMLElement | null} */ (document.activeElement?.closest(".job"))?.dataset.job ?? "");
  if (!job) return;
  const actions = tile ? [...makings(job, Number(tile.dataset.index)), ...uses(job, Number(tile.dataset.index)), ...ofJob(job)] : ofJob(job);
  const act = key === "Delete" ? actions.find((each) => each.id === "delete") : actions.find((each) => each.key === key);
  if (!act) return;
  event.preventDefault();
  if (!event.repeat) act.run();
}

/** The tile that stands below or above. @param {HTMLElement[]} tiles @param {number} here @param {1 | -1} way */
function row(tiles, here, way) {
  const box = tiles[here]?.getBoundingClientRect();
  if (!box) return way > 0 ? 0 : -1;
  let best = here;
  let least = Infinity;
  tiles.forEach((tile, index) => {
    const other = tile.getBoundingClientRect();
    const down = (other.top - box.top) * way;
    if (down < box.height / 2) return;
    const far = down * 4 + Math.abs(other.left - box.left);
    if (far < least) [best, least] = [index, far];
  });
  return best;
}
