/** How wide a text is in the page's font, and names shortened by it. */
import { middle } from "./text.js";

export const FONT = 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell, sans-serif';

/** @type {Pen|null} */
let pen = null;
/** @type {Map<string, string>} */
const known = new Map();

/** @param {string} text @param {string} font a CSS font without the family, such as `600 12px` */
export function widthOf(text, font) {
  pen ??= document.createElement("canvas").getContext("2d");
  if (!pen) return text.length * 7;
  pen.font = `${font} ${FONT}`;
  return pen.measureText(text).width;
}

/** A name, shortened in its middle if it must be. @param {string} name @param {number} room pixels @param {string} font */
export function fitted(name, room, font) {
  const key = `${Math.round(room)} ${font} ${name}`;
  let out = known.get(key);
  if (out === undefined) {
    if (known.size > 6000) known.clear();
    out = middle(name, room, (text) => widthOf(text, font));
    known.set(key, out);
  }
  return out;
}
