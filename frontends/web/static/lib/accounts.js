// What accounts are called, for operators: the name that an account has, wherever it is spoken of.

import { call } from "./api.js";
import { signal } from "./html.js";

/** Names by account; "": it has none, or that could not be learned. */
const names = signal(/** @type {Map<string, string>} */ (new Map()));
/** @type {Set<string>} */
const asked = new Set();

/** Take note of what accounts are called now. @param {{account: string, name: string}[]} accounts */
export function noteNames(accounts) {
  if (accounts.every((each) => names.peek().get(each.account) === each.name)) return;
  names.value = new Map([...names.peek(), ...accounts.map((each) => /** @type {const} */ ([each.account, each.name]))]);
}

/** Learn what some accounts are called, each once. @param {string[]} accounts */
export async function learnNames(accounts) {
  for (const account of accounts) {
    if (!account || asked.has(account) || names.peek().has(account)) continue;
    asked.add(account);
    try {
      noteNames([await call("info", { account })]);
    } catch {
      asked.delete(account); // asked again with what is looked at next
    }
  }
}

/** Return an account's name; of one without a name the beginning of its id. @param {string} account */
export const calledOf = (account) => names.value.get(account) || (account.length > 16 ? `${account.slice(0, 8)}…` : account);
