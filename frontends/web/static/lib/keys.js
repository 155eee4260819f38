// Keys: by the letter where the keyboard is Latin, else by where the letter would be.

import { useLayoutEffect, useRef } from "./html.js";

/**
 * Hear keys, from the moment on in which what they act on is drawn: an effect that waits for the screen would miss one.
 * @param {(event: KeyboardEvent) => void} pressed
 */
export function useKeys(pressed) {
  const latest = useRef(pressed);
  latest.current = pressed;
  useLayoutEffect(() => {
    /** @param {KeyboardEvent} event */
    const heard = (event) => latest.current(event);
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, []);
}

/**
 * Return the name of a pressed key: "a", "A" with Shift, "/", "ArrowLeft"; "" with Ctrl, Alt or Meta, or in composing.
 * @param {KeyboardEvent} event
 */
export function keyOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return "";
  const { key, code } = event;
  const letter = key.length === 1 && key.charCodeAt(0) > 127 && code.startsWith("Key") ? code.slice(3) : key;
  if (letter.length !== 1) return letter;
  return event.shiftKey ? letter.toUpperCase() : letter.toLowerCase();
}

/**
 * Return whether someone writes there, so that keys are letters.
 * @param {EventTarget | null} target
 */
export function isWriting(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "range", "button"].includes(target.type);
}

/** Return whether a dialog or a menu has the keys. */
export const isCovered = () => document.querySelector("dialog[open], .menu:popover-open") !== null;
