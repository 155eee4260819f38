// Icons: strokes on a square of 24, in the colour of the text around them. Labels are said by what they stand in.

import { html } from "../lib/html.js";

/** @type {Record<string, string>} */
const PATHS = {
  create: "M4 5h7v7H4zM13 5h7v7h-7zM4 14h7v5H4zM13 14h7v5h-7z",
  rank: "M3 6h7v12H3zM14 6h7v12h-7zM6.500 12l1.500-1.500v3z",
  heart: "M12 20s-7.500-4.700-7.500-10.200A4.300 4.300 0 0 1 12 7a4.300 4.300 0 0 1 7.500 2.800C19.500 15.300 12 20 12 20z",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  gauge: "M4 18a8 8 0 1 1 16 0M12 18l4-6",
  folder: "M3 6h6l2 2h10v11H3z",
  globe: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
  chat: "M4 5h16v11H9l-5 4z",
  plus: "M12 5v14M5 12h14",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9.500h.01",
  sliders: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4M4 12h3",
  send: "M5 12h13M13 6l6 6-6 6",
  close: "M6 6l12 12M18 6L6 18",
  more: "M5 11.400a.6.6 0 1 0 0 1.200.6.6 0 1 0 0-1.200zM12 11.400a.6.6 0 1 0 0 1.200.6.6 0 1 0 0-1.200zM19 11.400a.6.6 0 1 0 0 1.200.6.6 0 1 0 0-1.200z",
  vary: "M4 17c4 0 4-10 8-10s4 10 8 10M4 7c2 0 3 2 4 4M16 13c1 2 2 4 4 4",
  upscale: "M4 20V12M4 20h8M4 20l7-7M20 4h-8M20 4v8M20 4l-7 7",
  zoom: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500L20 20M8 10.500h5",
  pan: "M4 12h16M8 8l-4 4 4 4M16 8l4 4-4 4",
  again: "M19 12a7 7 0 1 1-2-5M19 3v5h-5",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  copy: "M9 9h11v11H9zM5 15V4h11",
  recipe: "M6 3h9l4 4v14H6zM9 11h7M9 15h7M14 3v5h5",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  up: "M5 15l7-7 7 7",
  down: "M5 9l7 7 7-7",
  undo: "M9 14l-5-5 5-5M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 20c1-4 4-6 8-6s7 2 8 6",
  keys: "M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8",
  words: "M5 6h14M5 11h10M5 16h12",
  check: "M5 12l5 5 9-10",
  brush: "M14 5l5 5-8 8c-2 2-5 2-7 1 2-1 1-4 3-6z",
  eye: "M2 12s4-6 10-6 10 6 10 6-4 6-10 6S2 12 2 12zM12 9.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z",
};

/** An icon by its name. @param {{name: string}} properties */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d=${PATHS[name] ?? PATHS.more} />
  </svg>`;
}
