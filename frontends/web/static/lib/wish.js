// What the imagine bar says: words, parameters and pictures, and what the server would make of them.

import { ApiError, ask, bring, call, pictureUrl, session, thumbnailUrl } from "./api.js";
import { batch, computed, effect, signal } from "./html.js";
import { recipeOf } from "./recipe.js";
import { find, submit } from "./store.js";

/** @typedef {import("./types.js").ParameterInfo} ParameterInfo */
/** @typedef {import("./types.js").Planned} Planned */
/** @typedef {"prompt" | "style" | "omni" | "start"} Role */
/** @typedef {{id: number, label: string, url: string, digest: string, role: Role, failed: string,
 *   recipe: import("./recipe.js").Spec | null}} Slot */

const CHECK_MS = 220; // of quiet, before what is typed is checked
const AGAIN_MS = 2000; // after which a check is made again that did not reach the server
const KEPT = "salon-wish";

/** Everything that a request can say, as the server lists it. */
export const specs = signal(/** @type {ParameterInfo[]} */ ([]));

/** What the account wants said where a prompt says nothing. */
export const settings = signal({ parameters: /** @type {Record<string, any>} */ ({}), suffix: "" });

export const prompt = signal("");
export const chosen = signal(/** @type {Record<string, any>} */ ({}));
export const slots = signal(/** @type {Slot[]} */ ([]));

/** What the server would make of it. `state`: empty, checking, good or wrong. */
export const plan = signal({ state: "empty", planned: /** @type {Planned | null} */ (null), error: /** @type {any} */ (null) });

/** Whether a request is on its way. */
export const sending = signal(false);

/** The request, as `plan` and `submit` take it. */
export const wanted = computed(() => {
  const parameters = { ...chosen.value };
  /** @param {Role} role */
  const of = (role) => slots.value.filter((slot) => slot.role === role && slot.digest).map((slot) => slot.digest);
  const [start] = of("start");
  if (of("prompt").length) parameters.image_prompts = of("prompt");
  if (of("style").length) parameters.style_references = of("style").map((digest) => [digest, 1]);
  if (of("omni").length) parameters.omni_reference = of("omni");
  if (start) parameters.image = start;
  return { prompt: prompt.value, parameters };
});

const isEmpty = computed(() => !prompt.value.trim() && !slots.value.length);

/** Learn what can be said, and what the account has kept. */
export async function learn() {
  const [known, kept] = await Promise.all([call("parameters"), call("settings")]);
  specs.value = known.parameters;
  settings.value = { parameters: kept.parameters, suffix: kept.suffix };
}

/** Check from now on what is said, whenever it has changed. */
export function watchWish() {
  let checks = 0;
  /** @type {AbortController | undefined} */
  let running;
  const end = effect(() => {
    const asked = wanted.value;
    const settled = settings.value;
    const incomplete = slots.value.some((slot) => !slot.digest && !slot.failed);
    keep();
    checks += 1;
    const check = checks;
    running?.abort();
    if (isEmpty.value || incomplete) {
      plan.value = { state: incomplete ? "checking" : "empty", planned: null, error: null };
      return;
    }
    plan.value = { ...plan.peek(), state: "checking" };
    const look = async () => {
      if (check !== checks || settled !== settings.peek()) return;
      running = new AbortController();
      /** @type {typeof plan.value} */
      let found;
      try {
        found = { state: "good", planned: await call("plan", asked, running.signal), error: null };
      } catch (error) {
        found = { state: "wrong", planned: null, error };
      }
      if (check !== checks) return;
      plan.value = found;
      if (found.error instanceof ApiError && (found.error.status === 0 || found.error.status >= 500)) setTimeout(look, AGAIN_MS);
    };
    setTimeout(look, CHECK_MS);
  });
  return () => {
    end();
    checks += 1;
    running?.abort();
  };
}

/** Ask for what the bar says. Pictures and words stay, to go on from. @returns {Promise<import("./store.js").Job[]>} */
export async function send() {
  sending.value = true;
  try {
    return await submit(wanted.peek());
  } finally {
    sending.value = false;
  }
}

/** Say a parameter, or with undefined no longer. @param {string} name @param {any} value */
export function choose(name, value) {
  const next = { ...chosen.peek() };
  if (value === undefined) delete next[name];
  else {
    next[name] = value;
    for (const other of specs.peek().find((spec) => spec.name === name)?.conflicts ?? []) delete next[other];
  }
  chosen.value = next;
}

/** Change what the account keeps; a value undefined takes a parameter away. @param {string} name @param {any} value */
export async function chooseSetting(name, value) {
  await changeSettings({ parameters: { [name]: value ?? null } });
}

/** @type {Promise<unknown>} */
let changing = Promise.resolve();

/** Changes go out one after another, so that the last one holds. @param {{parameters?: Record<string, any>, suffix?: string, reset?: boolean}} changes */
export function changeSettings(changes) {
  const mine = changing.then(async () => {
    const kept = await call("settings.change", changes);
    settings.value = { parameters: kept.parameters, suffix: kept.suffix };
  });
  changing = mine.catch(() => {});
  return mine;
}

// ---- pictures ----------------------------------------------------------------------------------------------------

let lastSlot = 0;

/** @param {Slot} slot */
const change = (slot, /** @type {Partial<Slot>} */ changes) => {
  slots.value = slots.peek().map((each) => (each.id === slot.id ? { ...each, ...changes } : each));
};

/** @param {string} label @param {string} url @param {Role} role @param {() => Promise<string>} digest */
async function add(label, url, role, digest) {
  lastSlot += 1;
  const slot = { id: lastSlot, label, url, digest: "", role, failed: "", recipe: null };
  slots.value = [...slots.peek(), slot];
  try {
    change(slot, { digest: await digest() });
  } catch (error) {
    change(slot, { failed: error instanceof Error ? error.message : String(error) });
  }
  return slot;
}

/** Take a file in. @param {File} file @param {Role} [role] */
export async function addFile(file, role = "prompt") {
  const recipe = recipeOf(file);
  const slot = await add(file.name || "pasted picture", URL.createObjectURL(file), role, () => bring(file));
  change(slot, { recipe: await recipe });
}

/** Say what a picture was drawn of, in its place. @param {Slot} slot */
export function useRecipe(slot) {
  if (!slot.recipe) return;
  sayRecipe(slot.recipe);
  dropSlot(slot.id);
}

/** Say what a picture was drawn of. @param {import("./recipe.js").Spec} recipe */
export const sayRecipe = ({ prompt: words, seed, width, height, images }) =>
  batch(() => {
    prompt.value = words;
    chosen.value = { seed, width, height, images };
  });

/** Return what the pictures of a job were drawn of; null: of no words, or it is gone. @param {string} job */
export const recipeOfJob = (job) =>
  find(job).then((found) => {
    const { prompt: words, seed, width, height, images } = found.info.peek();
    return words ? { prompt: words, seed, width, height, images } : null;
  }, () => null);

/** Take a picture of a job in. @param {string} job @param {number} index @param {Role} [role] */
export async function addPicture(job, index, role = "prompt") {
  const slot = await add(`picture ${index + 1} of ${job}`, thumbnailUrl(job, index, 256), role, async () => bring(await (await ask(pictureUrl(job, index))).blob()));
  change(slot, { recipe: await recipeOfJob(job) });
}

/** @param {number} id @param {Role} role */
export const setRole = (id, role) => {
  slots.value = slots.peek().map((slot) => (slot.id === id ? { ...slot, role } : slot));
};

/** @param {number} id */
export const dropSlot = (id) => {
  const slot = slots.peek().find((each) => each.id === id);
  if (slot?.url.startsWith("blob:")) URL.revokeObjectURL(slot.url);
  slots.value = slots.peek().filter((each) => each.id !== id);
};

// ---- kept over a reload --------------------------------------------------------------------------------------------

function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ account: session.peek()?.account, prompt: prompt.value, chosen: chosen.value }));
  } catch {
    // Without storage a reload forgets them.
  }
}

/** Write into the bar what stood there before a reload: before anything else can be written there. */
export function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
    if (kept.account !== session.peek()?.account) return;
    batch(() => {
      if (typeof kept.prompt === "string") prompt.value = kept.prompt;
      if (kept.chosen && typeof kept.chosen === "object") chosen.value = kept.chosen;
    });
  } catch {
    // What is there is not ours.
  }
}
