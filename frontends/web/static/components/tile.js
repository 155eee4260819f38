// A picture of a job in a box that has its shape before it comes: preview first, then a thumbnail, without a jump.

import { classes, html, useSignal } from "../lib/html.js";
import { thumbnailUrl } from "../lib/api.js";
import { liked, nameOf } from "../lib/likes.js";
import { Icon } from "./icon.js";

/**
 * A stored picture's thumbnail.
 * @param {{job: string, index: number, width: number, height: number, alt?: string, eager?: boolean, onLoad?: () => void}} properties
 */
export function Thumbnail({ job, index, width, height, alt = "", eager = false, onLoad }) {
  return html`<img
    class="thumbnail" alt=${alt} width=${width} height=${height} decoding="async" loading=${eager ? "eager" : "lazy"}
    src=${thumbnailUrl(job, index, 256)} srcset=${`${thumbnailUrl(job, index, 256)} 256w, ${thumbnailUrl(job, index, 512)} 512w`}
    sizes="(max-width: 700px) 45vw, 300px" draggable=${false} onLoad=${onLoad}
  />`;
}

/**
 * Return into how many columns the server joined pictures in a preview, by the preview's own shape.
 * @param {number} count of pictures
 * @param {number} cell width to height of each
 * @param {number} whole width to height of the preview
 */
export function columnsOf(count, cell, whole) {
  let best = 1;
  let least = Infinity;
  for (let columns = 1; columns <= count; columns += 1) {
    const off = Math.abs(Math.log((columns * cell) / Math.ceil(count / columns) / whole));
    if (off < least - 1e-6) [best, least] = [columns, off];
  }
  return best;
}

/**
 * One picture of an unfinished job, cut out of its preview.
 * @param {{url: string, index: number, count: number, ratio: number}} properties
 */
export function Preview({ url, index, count, ratio }) {
  const columns = useSignal(0);
  /** @param {Event} event */
  const measured = (event) => {
    const { naturalWidth, naturalHeight } = /** @type {HTMLImageElement} */ (event.target);
    columns.value = columnsOf(count, ratio, naturalWidth / naturalHeight);
  };
  const across = columns.value || 1;
  const down = Math.ceil(count / across);
  const style = {
    width: `${across * 100}%`,
    height: `${down * 100}%`,
    left: `${-(index % across) * 100}%`,
    top: `${-Math.floor(index / across) * 100}%`,
    visibility: columns.value ? "visible" : "hidden",
  };
  return html`<img class="preview" alt="" src=${url} style=${style} onLoad=${measured} />`;
}

/**
 * A picture of a job, finished or not, as a button that opens it.
 * @param {{job: import("../lib/store.js").Job, index: number, onOpen: () => void, children?: any}} properties
 */
export function Tile({ job, index, onOpen, children }) {
  const info = job.info.value;
  const loaded = useSignal(false);
  const picture = info.pictures.find((each) => each.index === index);
  const { width, height } = picture ?? info;
  const hearted = liked.value.has(nameOf(job.id, index));
  const label = `Picture ${index + 1} of ${info.images}: ${info.prompt || info.kind}${hearted ? ", liked" : ""}`;
  /** @param {DragEvent} event */
  const dragged = (event) => {
    event.dataTransfer?.setData("application/x-salon-picture", JSON.stringify({ job: job.id, index }));
    if (event.dataTransfer) event.dataTransfer.effectAllowed = "copy";
  };
  return html`<div
    class=${classes("tile", picture && loaded.value && "loaded", !job.ended && "forming")}
    style=${{ aspectRatio: `${width || 1} / ${height || 1}` }}
  >
    ${job.preview.value &&
    html`<${Preview} url=${job.preview.value} index=${index} count=${info.images} ratio=${(info.width || 1) / (info.height || 1)} />`}
    ${picture && html`<${Thumbnail} job=${job.id} index=${index} width=${width} height=${height} onLoad=${() => { loaded.value = true; }} />`}
    <button
      type="button" class="tile-open" aria-label=${label} disabled=${!picture} draggable=${Boolean(picture)}
      data-job=${job.id} data-index=${index} onClick=${onOpen} onDragStart=${dragged}
    ></button>
    ${picture && hearted && html`<span class="tile-mark"><${Icon} name="heart" /></span>`}
    ${picture && children}
  </div>`;
}
