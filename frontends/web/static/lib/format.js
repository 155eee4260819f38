// Numbers, times and names as people read them, in the language of the browser.

/** @type {[number, number][]} */
const USUAL = [[1, 1], [4, 3], [3, 2], [16, 9], [2, 1], [21, 9], [3, 1]];
const DAY_MS = 86_400_000;
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const whole = new Intl.NumberFormat();

/** @param {number} count */
export const number = (count) => whole.format(count);

/**
 * Return a count with its noun: "1 picture", "4 pictures".
 * @param {number} count
 * @param {string} noun
 */
export const counted = (count, noun) => `${whole.format(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Return GPU time in words: "0.4 s", "12 s", "3 min", "2.5 h".
 * @param {number} ms */
export function gpuTime(ms) {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** @param {number} bytes */
export function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length);
  const value = bytes / 1000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power - 1]}`;
}

/** @param {number} ms */
export const clock = (ms) => time.format(ms);

/** Return the day of a time: "Today", "Yesterday", "Monday, 3 March".
 * @param {number} ms */
export function dayName(ms) {
  const start = new Date().setHours(0, 0, 0, 0);
  if (ms >= start) return "Today";
  if (ms >= start - DAY_MS) return "Yesterday";
  return (start - ms < 180 * DAY_MS ? day : dayOfYear).format(ms);
}

/** Return the first of many words, as a label.
 * @param {string} text */
export const short = (text, most = 80) => (text.length <= most ? text : `${text.slice(0, most - 1).trimEnd()}…`);

/**
 * Return a size's proportions in small numbers where there are such: "3:2".
 * @param {number} width
 * @param {number} height
 */
export function ratio(width, height) {
  const wanted = width / height;
  const usual = [...USUAL, ...USUAL.map(([wide = 1, high = 1]) => [high, wide])];
  const off = usual.map(([wide = 1, high = 1]) => Math.abs(wide / high / wanted - 1));
  const least = Math.min(...off);
  if (least < 0.055) return (usual[off.indexOf(least)] ?? []).join(":"); // sizes are whole steps of the model's: 3:2 may be 160 × 112
  for (let high = 1; high <= 16; high += 1) {
    const wide = Math.round(wanted * high);
    if (wide > 0 && wide <= 32 && Math.abs(wide / high / wanted - 1) < 0.02) return `${wide}:${high}`;
  }
  return `${width}:${height}`;
}
