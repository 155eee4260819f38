// The way to the server: the wire's records as JSON, at api/TAG. Nothing is decided here.

import { signal } from "./html.js";

/** @typedef {import("./types.js").Session} Session */

const TRIES = 4;

/** Who is signed in; null: nobody is, undefined: that is not known yet. */
export const session = signal(/** @type {Session | null | undefined} */ (undefined));

/**
 * Read JSON of the server. Seeds go up to 2^64, beyond what numbers hold: a long one stays the text of its digits.
 * @param {string} text
 */
export const parse = (text) => JSON.parse(text.replace(/"seed":\s*(\d{16,})(?=\s*[,}])/g, '"seed":"$1"'));

/** Write JSON for the server; the opposite of `parse`. What is quoted inside a text is not touched: its quotes are escaped.
 * @param {object} fields @param {number} [indent] */
export const stringify = (fields, indent = 0) => JSON.stringify(fields, null, indent).replace(/"seed":(\s?)"(\d{1,20})"/g, '"seed":$1$2');

/** A request that the server did not carry out, or that did not reach it. */
export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0: there was no answer
   * @param {{code?: string, kind?: string, text?: string, message?: string, position?: number, retry_after_ms?: number}} error
   */
  constructor(status, error) {
    super(error.text ?? error.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = error.code ?? "";
    this.kind = error.kind ?? "";
    /** Character of the prompt that it speaks of; -1: of none. */
    this.position = error.position ?? -1;
    this.retryMs = error.retry_after_ms ?? 0;
  }
}

/**
 * Ask the server. An answer 401 ends the session.
 * @param {string} path below the page's own address
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (options.method && options.method !== "GET") headers.set("x-salon-csrf", session.value?.csrf || "page");
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options, headers });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "offline", text: "The server does not answer. Is `salon serve` running?" });
  }
  if (response.ok) return response;
  if (response.status === 401) session.value = null;
  const body = await response.json().catch(() => ({}));
  throw new ApiError(response.status, body.error ?? {});
}

/**
 * Send a record and return the answering one.
 * @param {string} tag of the record, such as "plan"
 * @param {object} fields of it
 * @param {AbortSignal} [abort]
 * @returns {Promise<any>}
 */
export async function call(tag, fields = {}, abort) {
  const headers = { "content-type": "application/json" };
  const options = { method: "POST", headers, body: stringify(fields), signal: abort ?? null };
  return parse(await (await ask(`api/${tag}`, options)).text());
}

/**
 * Send a record that has a key of its own, again where the first time did not arrive: it is carried out once.
 * @param {string} tag
 * @param {object} fields
 * @returns {Promise<any>}
 */
export async function callOnce(tag, fields) {
  const keyed = { key: newKey(), ...fields };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call(tag, keyed);
    } catch (error) {
      const again = error instanceof ApiError && (error.status === 0 || error.status === 503 || error.code === "busy");
      if (!again || attempt === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.max(error.retryMs, 250 * 2 ** attempt)));
    }
  }
}

/** Return a random key of a request. */
export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

/**
 * Bring a picture's file.
 * @param {Blob} file
 * @returns {Promise<string>} its digest, by which prompts name it
 */
export async function bring(file) {
  const headers = { "content-type": file.type || "application/octet-stream" };
  const response = await ask("api/references", { method: "POST", headers, body: file });
  return (await response.json()).digest;
}

/** Learn who is signed in. A one-time link in the address is traded for a session, and leaves the address. */
export async function enter() {
  const link = /^#link=(.+)$/.exec(location.hash)?.[1];
  if (link !== undefined) {
    history.replaceState(null, "", location.pathname + location.search);
    await signIn(link);
    return;
  }
  try {
    session.value = await (await ask("api/session")).json(); // index.html has asked for it already
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
  }
}

/**
 * Begin a session by a one-time link, or by the token in it.
 * @param {string} link
 */
export async function signIn(link) {
  const token = link.trim().replace(/^.*#link=/, "");
  const headers = { "content-type": "application/json" };
  await ask("api/session", { method: "POST", headers, body: JSON.stringify({ link: decodeURIComponent(token) }) });
  session.value = await (await ask("api/session?now")).json(); // and not what index.html has asked for before
}

/** End the session. */
export async function signOut() {
  await ask("api/session", { method: "DELETE" });
  session.value = null;
}

/**
 * Return where a picture's file is. `form`: png, jpeg or webp; "": as it is kept.
 * @param {string} job
 * @param {number} index -1: all in one
 * @param {{form?: string, download?: boolean}} [options]
 */
export function pictureUrl(job, index, { form = "", download = false } = {}) {
  const query = new URLSearchParams();
  if (form) query.set("form", form);
  if (download) query.set("download", "1");
  return `api/pictures/${encodeURIComponent(job)}/${index}${query.size ? `?${query}` : ""}`;
}

/** Return where a picture that the account has brought is shown, small. @param {string} digest */
export const referenceUrl = (digest) => `api/references/${digest}`;

/**
 * Return where a thumbnail is.
 * @param {string} job
 * @param {number} index
 * @param {256 | 512} side its longest, in pixels
 */
export const thumbnailUrl = (job, index, side) => `api/thumbnails/${encodeURIComponent(job)}/${index}/${side}`;
