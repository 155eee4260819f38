// The page begins: who is signed in, what can be said, which jobs there are; then it listens.

import { effect, html, render, signal, untracked } from "./lib/html.js";
import { ApiError, enter, session } from "./lib/api.js";
import { listen, stop } from "./lib/events.js";
import { forget, reload } from "./lib/store.js";
import { route } from "./lib/router.js";
import { learn, restore, watchWish } from "./lib/wish.js";
import { Shell } from "./components/shell.js";
import { SignIn } from "./components/signin.js";
import { tellError } from "./components/toasts.js";

const AGAIN_MS = 2000;
const WALLS = new Set(["organize", "explore"]); // views whose pictures come before what is not seen there
const LATER_MS = 2000;
const SOON_MS = 150;
const problem = signal("");
/** @type {(() => void) | undefined} */
let unwatch;
let last = ""; // account
let turn = 0;

function App() {
  if (session.value === undefined) return problem.value && html`<main class="signin"><h1>Salon</h1><p class="error" role="alert">${problem.value}</p><p class="muted">Trying again …</p></main>`;
  return session.value === null ? html`<${SignIn} problem=${problem.value} />` : html`<${Shell} />`;
}

async function begin() {
  try {
    problem.value = "";
    await enter();
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) session.value = null;
    else setTimeout(begin, AGAIN_MS);
  }
}

effect(() => {
  const who = session.value?.account;
  untracked(() => {
    unwatch?.();
    unwatch = undefined;
    stop();
    forget();
    turn += 1;
    const mine = turn;
    if (who === undefined) return;
    if (last && last !== who) {
      session.value = undefined; // nothing is shown that could be clicked meanwhile
      location.reload(); // so that nothing of the other account is left
      return;
    }
    last = who;
    restore();
    /** @param {() => Promise<void>} work */
    const insist = (work) => {
      work().catch((error) => {
        if (mine !== turn) return;
        tellError(error);
        setTimeout(() => mine === turn && insist(work), AGAIN_MS);
      });
    };
    let begun = false; // by the first picture, or where none comes in time
    const others = () => {
      if (begun || mine !== turn) return;
      begun = true;
      listen();
      insist(reload);
      insist(async () => {
        await learn();
        if (mine === turn) unwatch = watchWish();
      });
    };
    if (!WALLS.has(route.peek()[0] ?? "")) return others();
    const timer = setTimeout(others, LATER_MS);
    /** @param {Event} event */
    const seen = (event) => {
      if (!(event.target instanceof HTMLImageElement)) return; // a module that comes later than others
      document.removeEventListener("load", seen, { capture: true });
      clearTimeout(timer);
      setTimeout(others, SOON_MS);
    };
    document.addEventListener("load", seen, { capture: true });
  });
});

render(html`<${App} />`, /** @type {Element} */ (document.getElementById("app")));
void begin();
