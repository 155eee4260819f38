// Where nobody is signed in: a field for the one-time link that the server gave.

import { html, useSignal } from "../lib/html.js";
import { signIn } from "../lib/api.js";

/** @param {{problem?: string}} properties */
export function SignIn({ problem = "" }) {
  const wrong = useSignal(problem);
  const busy = useSignal(false);
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    busy.value = true;
    wrong.value = "";
    try {
      await signIn(/** @type {any} */ (event.target).elements.link.value);
    } catch (error) {
      wrong.value = error instanceof Error ? error.message : String(error);
    }
    busy.value = false;
  };
  return html`<main class="signin">
    <span class="mark" aria-hidden="true">S</span>
    <h1>Salon</h1>
    <p class="muted">Open the link that <code>salon serve</code> prints, or paste it here. A link works once, for some minutes; <code>salon account link</code> makes another.</p>
    <form onSubmit=${submit}>
      <label class="stack">Link<input name="link" type="text" required autocomplete="off" placeholder="http://…/#link=…" aria-describedby="signin-wrong" /></label>
      <p id="signin-wrong" class="error" role="alert">${wrong.value}</p>
      <button class="primary" disabled=${busy.value}>Sign in</button>
    </form>
  </main>`;
}
