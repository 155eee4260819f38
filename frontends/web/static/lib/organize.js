// Very many pictures: the names of all that fit in order, and records of those that are looked at.

import { call, ask } from "./api.js";
import { batch, signal } from "./html.js";
import { learnLikes, liked, nameOf } from "./likes.js";

/** @typedef {import("./types.js").JobInfo} JobInfo */
/** @typedef {{folder: string, name: string, made_ms: number, jobs: number}} Folder */
/** @typedef {{changed: number, refused: {job: string, kind: string, text: string}[]}} Changed */
/**
 * Which jobs are wanted; fields as those of `organize.names` in docs/wire.md.
 * @typedef {{
 *   whose?: string, search?: string, kinds?: string[], lanes?: string[], states?: string[], model?: string, from_ms?: number,
 *   until_ms?: number, liked?: boolean, rated?: boolean, hidden?: boolean | null, private?: boolean | null,
 *   folder?: string, oldest?: boolean
 * }} Query
 */

const FIRST = 2000; // names that are waited for; the others follow
const REST_MS = 300; // between the first names and the others
const PAGE = 20_000;
const LIKED = 200; // names at a time where only pictures that are liked are shown
const NEW = 200; // jobs that may have come since the last look
const SHOWN = 100; // records that are asked for at a time
const KEPT = 3000; // records that are kept
const BULK = 1000; // jobs of one change
const SWEEP_MS = 50; // in which deleted jobs are gathered

/** The pictures that fit a query, one after another, by their number from 0. */
export class Names {
  constructor() {
    /** Ids of jobs, in order. @type {string[]} */
    this.jobs = [];
    /** Number of each job's first picture. @type {number[]} */
    this.starts = [];
    /** Indexes of the pictures that are shown of a job; none: all. @type {Map<string, number[]>} */
    this.shown = new Map();
    /** Number of pictures whose names are there. */
    this.count = signal(0);
    /** Of all that fit; -1: not known yet. */
    this.total = signal({ jobs: -1, pictures: -1 });
    /** Counts up when records have come. */
    this.news = signal(0);
    this.failed = signal("");
    /** @type {Map<string, JobInfo>} */
    this.infos = new Map();
    /** Jobs that were deleted: an answer on its way may still name them. @type {Set<string>} */
    this.deleted = new Set();
    /** Those of them that are still here. @type {Set<string>} */
    this.gone = new Set();
    /** @type {Set<string>} */
    this.asked = new Set();
    this.turn = 0;
    /** Ends when the first names of the latest load have come. @type {Promise<unknown>} */
    this.coming = Promise.resolve();
  }

  /**
   * Load the names that fit. What is shown stays until the first have come.
   * @param {Query} query
   * @param {boolean} [only] of their pictures only those that are liked
   */
  async load(query, only = false) {
    this.turn += 1;
    const turn = this.turn;
    let came = () => {};
    this.coming = new Promise((resolve) => { came = () => resolve(undefined); });
    const [few, many] = only ? [LIKED, LIKED] : [FIRST, PAGE];
    let after = 0;
    try {
      do {
        const page = await call("organize.names", { ...query, after, limit: after ? many : few });
        if (only && turn === this.turn) await learnLikes(page.jobs);
        if (turn !== this.turn) return;
        if (after === 0) this.shown = new Map();
        if (only) page.pictures = page.jobs.map((/** @type {string} */ job, /** @type {number} */ at) => this.choose(job, page.pictures[at]));
        this.take(page, after === 0);
        came();
        if (after === 0 && page.next) await new Promise((resolve) => setTimeout(resolve, REST_MS)); // for the first pictures
        if (turn !== this.turn) return;
        after = page.next;
      } while (after);
    } catch (error) {
      if (turn === this.turn) this.failed.value = error instanceof Error ? error.message : String(error);
    } finally {
      came();
    }
  }

  /**
   * Put jobs that have come since before all others; what was there stays. Names that are on their way come first: they may
   * be older, and would take the place of these.
   * @param {() => Query} asked
   */
  async refresh(asked) {
    for (let before; before !== this.coming; ) {
      before = this.coming;
      await before;
    }
    const query = asked();
    if (query.oldest || !this.jobs.length) return this.load(query);
    const { turn } = this;
    const page = await call("organize.names", { ...query, limit: NEW });
    const at = page.jobs.indexOf(this.jobs[0]);
    if (turn !== this.turn || at === 0) return undefined;
    if (at < 0) return this.load(query);
    const [jobs, starts, before] = [this.jobs, this.starts, this.count.peek()];
    batch(() => {
      this.take({ ...page, jobs: page.jobs.slice(0, at) }, true);
      const more = this.count.peek();
      this.jobs = [...this.jobs, ...jobs];
      this.starts = [...this.starts, ...starts.map((start) => start + more)];
      this.count.value = before + more;
    });
    return undefined;
  }

  /** @param {{jobs: string[], pictures: number[], total: number, total_pictures: number}} page @param {boolean} first */
  take(page, first) {
    if (first) [this.jobs, this.starts] = [[], []];
    let count = first ? 0 : this.count.peek();
    const total = first ? { jobs: page.total, pictures: page.total_pictures } : { ...this.total.peek() };
    page.jobs.forEach((job, at) => {
      const pictures = page.pictures[at] ?? 0;
      if (!pictures) return;
      if (this.deleted.has(job)) {
        total.jobs -= 1;
        total.pictures -= pictures;
        return;
      }
      this.jobs.push(job);
      this.starts.push(count);
      count += pictures;
    });
    batch(() => {
      this.failed.value = "";
      this.total.value = total;
      this.count.value = count;
      this.news.value += 1;
    });
  }

  /** Show only what is liked of a job's pictures, and return how many that are. @param {string} job @param {number} count */
  choose(job, count) {
    const found = Array.from({ length: count }, (_, index) => index).filter((index) => liked.peek().has(nameOf(job, index)));
    this.shown.set(job, found);
    return found.length;
  }

  /** Take a job out that was deleted, soon. @param {string} job */
  drop(job) {
    this.deleted.add(job);
    this.gone.add(job);
    if (this.gone.size === 1) setTimeout(() => this.sweep(), SWEEP_MS);
  }

  sweep() {
    const { gone, jobs } = this;
    this.gone = new Set();
    const pictures = jobs.map((_, at) => (this.starts[at + 1] ?? this.count.peek()) - (this.starts[at] ?? 0));
    const left = jobs.map((_, at) => at).filter((at) => !gone.has(jobs[at] ?? ""));
    if (left.length === jobs.length) return;
    const { jobs: all, pictures: every } = this.total.peek();
    const before = this.count.peek();
    batch(() => {
      this.take({ jobs: left.map((at) => jobs[at] ?? ""), pictures: left.map((at) => pictures[at] ?? 0), total: 0, total_pictures: 0 }, true);
      this.total.value = { jobs: all - (jobs.length - left.length), pictures: every - (before - this.count.peek()) };
    });
  }

  /** Place of a picture's job among the jobs. @param {number} cell */
  placeOf(cell) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.starts[middle] ?? 0) <= cell) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The job and the index of a picture. @param {number} cell */
  at(cell) {
    const place = this.placeOf(cell);
    const job = this.jobs[place] ?? "";
    const nth = cell - (this.starts[place] ?? 0);
    return { job, index: this.shown.get(job)?.[nth] ?? nth };
  }

  /** How many pictures some of the jobs have. @param {Set<string>} jobs */
  picturesOf(jobs) {
    return this.jobs.reduce((sum, job, at) => sum + (jobs.has(job) ? (this.starts[at + 1] ?? this.count.peek()) - (this.starts[at] ?? 0) : 0), 0);
  }

  /** The jobs of some pictures, by the first and behind the last. @param {number} first @param {number} end */
  between(first, end) {
    if (!this.jobs.length || end <= first) return [];
    return this.jobs.slice(this.placeOf(first), this.placeOf(end - 1) + 1);
  }

  /** Load what is not known of some jobs. @param {string[]} jobs */
  async look(jobs) {
    const wanted = jobs.filter((job) => !this.infos.has(job) && !this.asked.has(job));
    for (let at = 0; at < wanted.length; at += SHOWN) {
      const part = wanted.slice(at, at + SHOWN);
      part.forEach((job) => this.asked.add(job));
      try {
        const [found] = await Promise.all([call("organize.show", { jobs: part }), learnLikes(part)]);
        for (const info of found.jobs) this.infos.set(info.job, info);
        for (const job of this.infos.keys()) {
          if (this.infos.size <= KEPT) break;
          this.infos.delete(job);
        }
        if (found.jobs.length) this.news.value += 1; // else what is gone would be asked for again and again
      } finally {
        part.forEach((job) => this.asked.delete(job));
      }
    }
  }
}

/** The account's folders, by name. */
export const folders = signal(/** @type {Folder[]} */ ([]));

export async function loadFolders() {
  folders.value = (await call("organize.folders")).folders;
}

/**
 * Do one thing to many jobs.
 * @param {string} act @param {string[]} jobs @param {string} [folder]
 * @returns {Promise<Changed>}
 */
export async function change(act, jobs, folder = "") {
  /** @type {Changed} */
  const all = { changed: 0, refused: [] };
  for (let at = 0; at < jobs.length; at += BULK) {
    const part = await call("organize.change", { act, jobs: jobs.slice(at, at + BULK), folder });
    all.changed += part.changed;
    all.refused.push(...part.refused);
  }
  return all;
}

/** Have the browser save the pictures of jobs as one zip. @param {string[]} jobs */
export async function downloadZip(jobs) {
  const headers = { "content-type": "application/json" };
  const { name } = await (await ask("api/zip", { method: "POST", headers, body: JSON.stringify({ jobs }) })).json();
  const link = document.createElement("a");
  link.href = `api/zip/${encodeURIComponent(name)}`;
  link.download = "";
  link.click();
}

/** The beginning of a day of the browser's clock, UTC ms; 0: no day. @param {string} day like 2026-11-30 @param {number} [later] days */
export function dayMs(day, later = 0) {
  const match = /^(\d{4})-(\d\d)-(\d\d)$/.exec(day);
  return match ? Math.max(0, new Date(Number(match[1]), Number(match[2]) - 1, Number(match[3]) + later).getTime()) : 0;
}
