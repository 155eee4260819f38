// What every module draws with: Preact by tagged templates, with signals as its state.

import { h } from "preact";
import htm from "htm";

export { Fragment, createContext, render } from "preact";
export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect } from "@preact/signals";

/** Make elements of a template: html`<p class="note">${text}</p>`. Text is only ever text, whatever is in it. */
export const html = htm.bind(h);

/**
 * Join the class names that hold.
 * @param {...(string | false | null | undefined)} names
 */
export const classes = (...names) => names.filter(Boolean).join(" ");
