// What can be made of a picture or of a job, once for tiles, menus, the lightbox and keys.

import { call, callOnce, pictureUrl, session } from "./api.js";
import { liked, mark, nameOf } from "./likes.js";
import { go } from "./router.js";
import { cancel, put, remove, submit } from "./store.js";
import * as wish from "./wish.js";
import { focusBar, write } from "../components/bar.js";
import { confirm } from "../components/dialog.js";
import { attempt, tell } from "../components/toasts.js";

/** @typedef {import("./store.js").Job} Job */
/** @typedef {{id: string, label: string, icon: string, key?: string, danger?: boolean, run: () => void}} Action */

export { liked };

/**
 * Ask for a job that is made of a picture.
 * @param {string} kind @param {Job} job @param {number} index -1: of the job as a whole
 * @param {Record<string, any>} [parameters] @param {string} [prompt]
 */
export const make = (kind, job, index, parameters = {}, prompt = "") =>
  attempt(async () => {
    const made = await submit({ kind, prompt, parameters, sources: [{ job: job.id, index }] });
    tell(`${TITLES[kind] ?? kind}: asked for.`);
    return made;
  });

/** What kinds of jobs are called. @type {Record<string, string>} */
export const TITLES = {
  vary: "Variation", upscale: "Upscale", zoom: "Zoom out", pan: "Pan", take: "Single picture", reroll: "Again", retexture: "Retexture",
  edit: "Edit", region: "Region", enhance: "Full quality", describe: "Description", shorten: "Shorter prompts", blend: "Blend",
  reproduce: "Reproduction",
};

/** @param {{id: string}} job @param {number} index @param {boolean} [on] */
export async function like(job, index, on = !liked.peek().has(nameOf(job.id, index))) {
  await attempt(async () => {
    await call("taste.like", { job: job.id, index, on });
    mark(job.id, index, on);
    tell(on ? "Liked." : "No longer liked.");
  });
}

/** @param {string} text @param {string} what */
export const copy = (text, what) =>
  attempt(async () => {
    if (!isSecureContext) throw new Error("Browsers let pages copy over HTTPS alone.");
    await navigator.clipboard.writeText(text);
    tell(`${what} copied.`);
  });

/** Have the browser save a picture's file. @param {string} job @param {number} index */
export function download(job, index, form = "") {
  const link = document.createElement("a");
  link.href = pictureUrl(job, index, { form, download: true });
  link.download = "";
  link.click();
}

/** What can be made of a picture. @param {Job} job @param {number} index @returns {Action[]} */
export function makings(job, index) {
  const info = job.info.peek();
  /** @type {(id: string, label: string, icon: string, kind: string, parameters?: Record<string, any>, key?: string) => Action} */
  const action = (id, label, icon, kind, parameters, key) => ({ id, label, icon, ...(key && { key }), run: () => void make(kind, job, index, parameters) });
  const upscaled = info.kind === "upscale";
  return [
    action("vary", "Vary subtly", "vary", "vary", {}, "v"),
    action("vary-strong", "Vary strongly", "vary", "vary", { strong: true }, "b"),
    ...(upscaled
      ? []
      : [
          action("upscale", "Upscale", "upscale", "upscale", {}, "u"),
          action("upscale-creative", "Upscale, with new detail", "upscale", "upscale", { creative: true }),
          action("zoom-15", "Zoom out 1.5 ×", "zoom", "zoom", { zoom: 1.5 }),
          action("zoom-2", "Zoom out 2 ×", "zoom", "zoom", { zoom: 2 }, "z"),
          action("pan-left", "Pan left", "left", "pan", { side: "left" }),
          action("pan-right", "Pan right", "right", "pan", { side: "right" }),
          action("pan-up", "Pan up", "up", "pan", { side: "up" }),
          action("pan-down", "Pan down", "down", "pan", { side: "down" }),
          ...(info.images > 1 ? [action("take", "Take alone, free", "picture", "take")] : []),
        ]),
    { id: "region", label: "Change a region", icon: "brush", key: "g", run: () => go("edit", job.id, index) },
    { id: "edit", label: "Open in the editor", icon: "edit", key: "e", run: () => go("edit", job.id, index, "move") },
  ];
}

/** What else can be done with a picture. @param {Job} job @param {number} index @returns {Action[]} */
export function uses(job, index) {
  const isLiked = liked.peek().has(nameOf(job.id, index));
  return [
    { id: "like", label: isLiked ? "Like no longer" : "Like", icon: "heart", key: "l", run: () => void like(job, index) },
    { id: "as-prompt", label: "Use as a picture prompt", icon: "picture", run: () => use(job, index, "prompt") },
    { id: "as-style", label: "Use its style", icon: "brush", run: () => use(job, index, "style") },
    { id: "as-start", label: "Start from it", icon: "create", run: () => use(job, index, "start") },
    { id: "describe", label: "Describe it in words", icon: "words", run: () => void make("describe", job, index) },
    { id: "download", label: "Download", icon: "download", key: "d", run: () => download(job.id, index) },
  ];
}

/** What can be done with a job. @param {Job} job @returns {Action[]} */
export function ofJob(job) {
  const info = job.info.peek();
  const draws = info.pictures.length > 0;
  const own = info.account === session.peek()?.account;
  return [
    ...(job.ended || !own ? [] : [{ id: "cancel", label: "Cancel", icon: "close", key: "x", run: () => void attempt(() => cancel(job)) }]),
    ...(draws ? [{ id: "reroll", label: "Again, with another seed", icon: "again", key: "r", run: () => void make("reroll", job, -1) }] : []),
    ...(own && job.ended && !draws ? [{ id: "again", label: "Try again", icon: "again", key: "r", run: () => void retry(job) }] : []),
    ...(info.prompt ? [
      { id: "prompt", label: "Use the prompt", icon: "words", key: "p", run: () => write(info.prompt) },
      { id: "copy", label: "Copy the prompt", icon: "copy", run: () => void copy(info.prompt, "The prompt is") },
    ] : []),
    ...(draws ? [{ id: "seed", label: "Use the seed", icon: "keys", run: () => { wish.choose("seed", info.seed); focusBar(); } }] : []),
    ...(draws ? [{ id: "grid", label: "Download all in one", icon: "download", run: () => download(job.id, -1) }] : []),
    ...(job.ended && own ? [{ id: "delete", label: "Delete", icon: "trash", danger: true, run: () => void removal(job) }] : []),
  ];
}

/** Delete a job, after a yes. @param {Job} job */
export async function removal(job) {
  const yes = await confirm("Delete it for good?", "Its pictures leave the disk and its prompt the records. That cannot be taken back.", "Delete");
  if (!yes) return;
  const all = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".feed .tile-open:not(:disabled)")]);
  const place = all().findIndex((tile) => tile.dataset.job === job.id);
  await attempt(() => remove(job));
  requestAnimationFrame(() => {
    if (place >= 0 && document.activeElement === document.body) (all()[place] ?? all().at(-1))?.focus({ preventScroll: true });
  });
}

/** Ask for a job of one's own once more, of whatever kind: the very same, where it ended without pictures. @param {Job} job */
export const retry = (job) =>
  attempt(async () => {
    put((await callOnce("again", { job: job.id })).job);
    tell("Asked for once more.");
  });

/** @param {Job} job @param {number} index @param {wish.Role} role */
function use(job, index, role) {
  void wish.addPicture(job.id, index, role);
  focusBar();
}
