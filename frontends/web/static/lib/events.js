// One stream of events for the whole page: what happens to the account's jobs.

import { ask, parse, session } from "./api.js";
import { signal } from "./html.js";
import { drop, known, put, reload } from "./store.js";

const HIDDEN_MS = 30_000; // after which a hidden page lets its connection go: browsers have six for a server
const WAIT_MS = [500, 1000, 2000, 5000];

/** Whether the page hears of changes; null: it has not tried yet. */
export const connected = signal(/** @type {boolean | null} */ (null));

/** Counts up when news were lost: what is loaded may hold jobs that are gone, and lack others. */
export const renewed = signal(0);

/** @type {EventSource | null} */
let source = null;
let failures = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let hidden;
let last = ""; // id of the event that was heard last
let resting = false;
let stale = false;
/** The latest preview of each job that is not shown yet. @type {Map<string, string>} */
const waiting = new Map();
/** @type {Set<string>} */
const loading = new Set();

/**
 * Begin to listen, after what was heard last; the first time after the session's answer, which is older than all that the
 * page has loaded. The browser itself resumes a stream that breaks; one that was refused begins anew.
 */
export function listen() {
  close();
  resting = false;
  source = new EventSource(`api/events?${new URLSearchParams({ after: last || (session.peek()?.news ?? "") })}`);
  source.onopen = () => {
    connected.value = true;
    failures = 0;
    if (stale) renew();
  };
  source.onerror = () => {
    connected.value = false;
    if (source?.readyState !== EventSource.CLOSED) return;
    ask("api/session").catch(() => {}); // a session that has ended is told by this, and by no stream
    timer = setTimeout(listen, WAIT_MS[Math.min(failures, WAIT_MS.length - 1)]);
    failures += 1;
  };
  on("job", (info) => put(info));
  on("step", ({ job, step, steps }) => {
    const found = known.get(job);
    if (found && !found.ended && step >= found.steps.peek().step) found.steps.value = { step, steps };
  });
  on("preview", ({ job, url }) => {
    waiting.set(job, url.replace(/^\//, ""));
    if (!loading.has(job)) void loadPreview(job);
  });
  on("gone", ({ job }) => drop(job));
  on("reset", renew);
}

/** Load everything again; where that fails, the next time that the stream opens. */
function renew() {
  stale = true;
  renewed.value += 1;
  reload().then(() => { stale = false; }, () => {});
}

/** Show the latest preview of a job once it is there, so that none is seen half, nor one that is gone already. @param {string} id */
async function loadPreview(id) {
  loading.add(id);
  for (let url = waiting.get(id); url !== undefined; url = waiting.get(id)) {
    waiting.delete(id);
    const image = new Image();
    image.src = url;
    const came = await image.decode().then(() => true, () => false);
    const job = known.get(id);
    if (came && job && !job.ended) job.preview.value = url;
  }
  loading.delete(id);
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

/** Stop listening, also when the page is looked at again. */
export function stop() {
  close();
  last = "";
  resting = stale = false;
  connected.value = null;
}

/**
 * @param {string} kind
 * @param {(data: any) => void} act
 */
function on(kind, act) {
  source?.addEventListener(kind, (event) => {
    const { data, lastEventId } = /** @type {MessageEvent} */ (event);
    last = lastEventId;
    act(parse(data));
  });
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (document.hidden) {
    hidden = setTimeout(() => {
      if (source === null) return;
      close();
      resting = true;
    }, HIDDEN_MS);
  } else if (source === null && resting) {
    listen();
  }
});
