// The recipe inside a PNG that Salon made: an iTXt chunk named "salon", in JSON.

import { parse } from "./api.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const MOST = 1_000_000; // bytes of a recipe

/** @typedef {{prompt: string, seed: number | string, width: number, height: number, images: number}} Spec */

/**
 * Return what a picture was drawn of; null: it does not say.
 * @param {Blob} file
 * @returns {Promise<Spec | null>}
 */
export async function recipeOf(file) {
  try {
    const data = new DataView(await file.arrayBuffer());
    if (!SIGNATURE.every((byte, at) => data.getUint8(at) === byte)) return null;
    for (let at = 8; at + 12 <= data.byteLength; ) {
      const size = data.getUint32(at);
      const name = ascii(data, at + 4, 4);
      if (name === "IDAT" || size > data.byteLength) return null;
      if (name === "iTXt" && size <= MOST) {
        const text = await textOf(new Uint8Array(data.buffer, at + 8, size));
        if (text !== null) return specOf(parse(text));
      }
      at += size + 12;
    }
  } catch {
    // A broken file has no recipe; whether it is a picture, the server says.
  }
  return null;
}

/** @param {DataView} data @param {number} at @param {number} size */
const ascii = (data, at, size) => String.fromCharCode(...new Uint8Array(data.buffer, at, size));

/** Return the text of a chunk named "salon"; null: it has another name. @param {Uint8Array<ArrayBuffer>} chunk */
async function textOf(chunk) {
  const ends = [];
  const name = chunk.indexOf(0);
  if (new TextDecoder().decode(chunk.subarray(0, name)) !== "salon") return null;
  let from = name + 3;
  for (let each = 0; each < 2; each += 1) {
    from = chunk.indexOf(0, from) + 1;
    ends.push(from);
  }
  const body = chunk.subarray(ends[1]);
  if (!chunk[name + 1]) return new TextDecoder().decode(body);
  return new Response(new Blob([body]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

/** @param {any} recipe @returns {Spec | null} */
function specOf({ spec }) {
  const { prompt, seed, width, height, images } = spec ?? {};
  return typeof prompt === "string" && (Number.isSafeInteger(seed) || typeof seed === "string") ? { prompt, seed, width, height, images } : null;
}
