/** Requests a second, and which edges glow. */

const WINDOW_MS = 5000;
const GLOW_MS = 1400;

export class Rates {
  constructor() {
    /** @type {Map<string, {at:number, started:number}[]>} */
    this.seen = new Map();
    /** @type {Map<string, number>} */
    this.last = new Map();
  }

  /** @param {string} key @param {number} started @param {number} now */
  note(key, started, now) {
    this.last.set(key, now);
    if (!started) return;
    const list = this.seen.get(key) ?? [];
    list.push({ at: now, started });
    while (list.length && list[0].at < now - WINDOW_MS) list.shift();
    this.seen.set(key, list);
  }

  /** @param {string} key @param {number} now */
  rate(key, now) {
    let sum = 0;
    for (const { at, started } of this.seen.get(key) ?? []) if (at >= now - WINDOW_MS) sum += started;
    return sum / (WINDOW_MS / 1000);
  }

  /** @param {string} prefix @param {number} now */
  under(prefix, now) {
    let sum = 0;
    for (const key of this.seen.keys()) if (key.startsWith(prefix)) sum += this.rate(key, now);
    return sum;
  }

  /** Forgets what is over. @param {Map<string, number>} busy @param {number} now */
  glowing(busy, now) {
    const keys = new Set([...busy].flatMap(([key, n]) => (n > 0 ? key : [])));
    for (const [key, at] of this.last) {
      if (at > now - GLOW_MS) keys.add(key);
      else if (at < now - WINDOW_MS) {
        this.last.delete(key);
        this.seen.delete(key);
      }
    }
    return keys;
  }

  /** @param {number} now */
  nextEnd(now) {
    let end = Infinity;
    for (const at of this.last.values()) if (at + GLOW_MS > now) end = Math.min(end, at + GLOW_MS);
    return end === Infinity ? null : end;
  }
}
