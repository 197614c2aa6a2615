/** Tells changes of state to screen readers, at most once in 3 s. */
import { $ } from "./dom.js";

const PAUSE_MS = 3000;
/** @type {string[]} */
let waiting = [];
let timer = 0;
let last = -PAUSE_MS;

/** @param {string} text */
export function tell(text) {
  waiting.push(text);
  if (timer) return;
  timer = window.setTimeout(() => {
    timer = 0;
    last = performance.now();
    const said = waiting.slice(-4).join(" ");
    const more = waiting.length - 4;
    waiting = [];
    $("live").textContent = more > 0 ? `${said} And ${more} more changes.` : said;
  }, Math.max(60, last + PAUSE_MS - performance.now()));
}
