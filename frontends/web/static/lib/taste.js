// Pairs to choose between: the next one is asked for, and its pictures are decoded, while one still looks at this one.

import { call, pictureUrl } from "./api.js";
import { signal } from "./html.js";

/** @typedef {{job: string, index: number, digest: string, width: number, height: number, prompt: string}} PairPicture */
/** @typedef {{pair: string, left: PairPicture, right: PairPicture, profile: string, events: number, needed: number}} Pair */
/** @typedef {"left" | "right" | "skip"} Choice */

/** The pair that is shown; null: none is there yet. */
export const pair = signal(/** @type {Pair | null} */ (null));

/** How many choices teach the profile, of those that it takes. */
export const taught = signal({ events: 0, needed: 0, code: "" });

/** Why there is no pair, in the server's words. */
export const without = signal("");

let profile = "";
/** @type {Promise<Pair>[]} the pairs after the one that is shown */
let coming = [];
/** @type {Promise<unknown>} */
let sent = Promise.resolve();
let undoing = false; // the pair that is shown is about to be another one

/** Return where a picture of a pair is. @param {PairPicture} picture */
export const urlOf = (picture) => pictureUrl(picture.job, picture.index);

/** @returns {Promise<Pair>} */
async function fetchPair() {
  const found = await call("taste.next", { profile });
  await Promise.all([found.left, found.right].map(decoded));
  return found;
}

/** @param {PairPicture} picture */
async function decoded(picture) {
  const image = new Image();
  image.src = urlOf(picture);
  await image.decode().catch(() => {});
}

/** Show a first pair for a profile. @param {string} [name] its id or name; "": the global one */
export async function begin(name = "") {
  if (name !== profile) coming = [];
  else if (pair.peek()) return;
  profile = name;
  pair.value = null;
  without.value = "";
  await advance();
}

async function advance() {
  const mine = profile;
  try {
    const found = await (coming.shift() ?? fetchPair());
    if (mine !== profile) return;
    show(found);
    prefetch();
  } catch (error) {
    if (mine === profile) without.value = error instanceof Error ? error.message : String(error);
  }
}

/** @param {Pair} found */
function show(found) {
  pair.value = found;
  taught.value = { events: found.events, needed: found.needed, code: taught.peek().code };
}

/** Ask for the pair after the one that is shown, if it is not there. */
function prefetch() {
  if (coming.length) return;
  const prefetched = fetchPair();
  prefetched.catch(() => {});
  coming = [prefetched];
}

/**
 * Answer the pair that is shown. The next one is there at once; the answer goes out behind it, in order.
 * @param {Choice} choice
 * @param {(error: unknown) => void} failed
 */
export function answer(choice, failed) {
  const shown = pair.peek();
  if (!shown || undoing) return;
  const ready = coming.shift();
  const mine = profile;
  pair.value = null;
  // The server keeps two pairs open: the answer has to be there before a third is asked for.
  sent = sent.then(async () => {
    const told = await call("taste.rank", { pair: shown.pair, choice });
    if (mine === profile) taught.value = { events: told.events, needed: told.needed, code: told.code || taught.peek().code };
  }).catch(failed);
  if (ready) void settle(ready);
  else void sent.then(advance);
}

/** @param {Promise<Pair>} ready */
async function settle(ready) {
  const mine = profile;
  try {
    const found = await ready;
    if (mine !== profile) return;
    pair.value = found;
  } catch {
    await sent;
    return mine === profile ? advance() : undefined;
  }
  await sent;
  if (mine === profile) prefetch();
}

/**
 * Take the last answer back, and show its pair again. The pair that was shown comes after it. A like or a grid's picks that
 * came later stay: they are taken back where they stand.
 * @returns {Promise<boolean>} whether it was done; false: it is being done already
 */
export async function undo() {
  if (undoing) return false;
  undoing = true;
  try {
    await sent;
    const mine = profile;
    const of = { profile: pair.peek()?.profile || profile };
    const last = (await call("taste.events", of)).events.find((/** @type {{on: boolean}} */ each) => each.on);
    if (last && last.kind !== "pair") throw new Error(`What you said last is a ${last.kind}, and no choice between two: History takes it back.`);
    await call("taste.undo", of);
    const found = await fetchPair();
    const after = await Promise.allSettled(coming);
    if (mine !== profile) return true;
    const others = [pair.peek(), ...after.map((each) => (each.status === "fulfilled" ? each.value : null))];
    coming = others.flatMap((each) => (each && each.pair !== found.pair ? [Promise.resolve(each)] : []));
    without.value = "";
    show(found);
    return true;
  } finally {
    undoing = false;
  }
}
