// The account's jobs as the page knows them: each with signals, so that only what changed is drawn anew.

import { ApiError, call, callOnce } from "./api.js";
import { batch, signal } from "./html.js";
import { forgetLikes, learnLikes } from "./likes.js";

/** @typedef {import("./types.js").JobInfo} JobInfo */

const PAGE = 24;
export const FINAL = new Set(["done", "failed", "cancelled", "blocked"]);
const PREVIEW_EVERY = 4; // steps

/** A job, and how it goes. */
export class Job {
  /** @param {JobInfo} info */
  constructor(info) {
    this.id = info.job;
    this.info = signal(info);
    this.steps = signal({ step: info.step, steps: info.steps });
    /** Address of the latest preview: all pictures in one. */
    this.preview = signal("");
  }

  get ended() {
    return FINAL.has(this.info.value.state);
  }
}

/** @type {Map<string, Job>} */
export const known = new Map();

/** The own jobs that are loaded, newest first. */
export const order = signal(/** @type {Job[]} */ ([]));

/** Where the next page of older jobs begins; 0: there are none, -1: nothing is loaded yet. */
export const older = signal(-1);

/**
 * Take note of a job, and return it. `listed`: it belongs into the list of one's own.
 * @param {JobInfo} info
 * @param {boolean} [listed]
 */
export function put(info, listed = true) {
  let job = known.get(info.job);
  batch(() => {
    if (job === undefined) {
      job = new Job(info);
      known.set(info.job, job);
    } else if (info.last_event >= job.info.peek().last_event || FINAL.has(info.state)) {
      job.info.value = info;
      if (info.step >= job.steps.peek().step || info.state === "queued") job.steps.value = { step: info.step, steps: info.steps };
    }
    if (listed && !gone(info)) insert(job);
  });
  return /** @type {Job} */ (/** @type {unknown} */ (job));
}

/** A job whose pictures were deleted stays in the books, but not on the page.
 * @param {JobInfo} info */
const gone = (info) => info.state === "done" && !info.pictures.length && !info.texts.length;

/** @param {Job} job */
function insert(job) {
  const list = order.peek();
  if (list.includes(job)) return;
  const made = job.info.peek().made_ms;
  let at = list.findIndex((other) => other.info.peek().made_ms <= made);
  if (at < 0) at = list.length;
  order.value = [...list.slice(0, at), job, ...list.slice(at)];
}

/**
 * Load the newest jobs again, as far back as some are known, and those that were going on; what is loaded of older ones
 * stays.
 */
export async function reload() {
  const first = older.peek() < 0;
  const open = new Set(order.peek().filter((job) => !job.ended).map((job) => job.id));
  for (let before = 0; ; ) {
    const page = await call("list", before ? { limit: PAGE, before } : { limit: PAGE });
    const met = page.jobs.some((/** @type {JobInfo} */ info) => order.peek().some((job) => job.id === info.job));
    batch(() => {
      for (const info of [...page.jobs].reverse()) {
        put(info);
        open.delete(info.job);
      }
      if (first) older.value = page.next;
    });
    likesOf(page.jobs);
    if (first || met || !page.next) break;
    before = page.next;
  }
  for (const id of open) {
    try {
      put(await call("show", { job: id }));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      drop(id);
    }
  }
}

/** Have the likes of loaded jobs known; without them a heart is missing, and nothing else. @param {JobInfo[]} infos */
const likesOf = (infos) => void learnLikes(infos.map((info) => info.job)).catch(() => {});

/** Load the next page of older jobs. */
export async function loadOlder() {
  if (older.peek() <= 0) return;
  const page = await call("list", { limit: PAGE, before: older.peek() });
  batch(() => {
    for (const info of page.jobs) put(info);
    older.value = page.next;
  });
  likesOf(page.jobs);
}

/**
 * Return a job by its id, from the server if it is not known.
 * @param {string} id
 */
export async function find(id) {
  const here = known.get(id);
  if (here) return here;
  const info = await call("show", { job: id });
  likesOf([info]);
  return put(info, false);
}

/**
 * Ask for a job, or several; return them.
 * @param {import("./types.js").Wanted} wanted
 * @returns {Promise<Job[]>}
 */
export async function submit({ kind = "imagine", prompt = "", parameters = {}, sources = [] }) {
  const fields = { kind, prompt, parameters, sources, language: true, preview_every: PREVIEW_EVERY };
  const accepted = await callOnce("submit", fields);
  const jobs = [accepted.job, ...(accepted.more ?? [])];
  return batch(() => jobs.reverse().map((info) => put(info)).reverse());
}

/** @param {Job} job */
export async function cancel(job) {
  await call("cancel", { job: job.id });
}

/** @param {Job} job */
export async function remove(job) {
  await call("delete", { job: job.id });
  drop(job.id);
}

/** Told of each job that is deleted. @type {Set<(id: string) => void>} */
export const dropped = new Set();

/** Forget a job that is deleted. @param {string} id */
export function drop(id) {
  for (const tell of dropped) tell(id);
  order.value = order.peek().filter((job) => job.id !== id);
  known.delete(id);
}

/** Forget everything, for another account. */
export function forget() {
  batch(() => {
    known.clear();
    forgetLikes();
    order.value = [];
    older.value = -1;
  });
}
