// Which pictures the account likes, as far as the page has looked at them: the server is asked job by job, once.

import { call, session } from "./api.js";
import { signal } from "./html.js";

const MOST = 100; // jobs that are asked for at a time

/** The pictures that are liked, as JOB/INDEX. */
export const liked = signal(/** @type {Set<string>} */ (new Set()));

/** @param {string} job @param {number} index */
export const nameOf = (job, index) => `${job}/${index}`;

/** Take note of a picture that is liked from now on, or no longer. @param {string} job @param {number} index @param {boolean} on */
export function mark(job, index, on) {
  const next = new Set(liked.peek());
  if (on) next.add(nameOf(job, index));
  else next.delete(nameOf(job, index));
  liked.value = next;
}

/** Learn which pictures of some jobs are liked. @param {string[]} jobs */
export async function learnLikes(jobs) {
  if (!session.peek()?.features.includes("organize")) return;
  for (let at = 0; at < jobs.length; at += MOST) {
    const part = jobs.slice(at, at + MOST);
    const marks = await call("organize.marks", { jobs: part });
    const these = new Set(part);
    const next = new Set([...liked.peek()].filter((name) => !these.has(name.slice(0, name.lastIndexOf("/")))));
    for (const [job, indexes] of Object.entries(marks.liked)) for (const index of /** @type {number[]} */ (indexes)) next.add(nameOf(job, index));
    liked.value = next;
  }
}

export const forgetLikes = () => {
  liked.value = new Set();
};
