// Which view is shown: the address behind #, so that the server has one page and the browser its history.

import { signal } from "./html.js";

const HOME = "create";

/** The path behind #/, in parts: ["create"], ["edit", "JOB", "0"]. */
export const route = signal(parts());

function parts() {
  const path = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  const found = path.split("/").filter(Boolean).map(safely);
  return found.length ? found : [HOME];
}

/** @param {string} part */
function safely(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Return the address of a view, for a link.
 * @param {...(string | number)} path */
export const href = (...path) => `#/${path.map(encodeURIComponent).join("/")}`;

/** Go to a view.
 * @param {...(string | number)} path */
export function go(...path) {
  location.hash = href(...path);
}

addEventListener("hashchange", () => {
  route.value = parts();
});
