/** Requests a second, and which edges glow. */

const WINDOW_MS = 5000;
const ACTIVE_MS = 1400;

export class TrafficRates {
  constructor() {
    /** @type {Map<string, {at:number, started:number}[]>} */
    this.samples = new Map();
    /** @type {Map<string, number>} */
    this.lastSeen = new Map();
  }

  /** @param {string} key @param {number} started @param {number} now */
  record(key, started, now) {
    this.lastSeen.set(key, now);
    if (!started) return;
    const list = this.samples.get(key) ?? [];
    list.push({ at: now, started });
    while (list.length && list[0].at < now - WINDOW_MS) list.shift();
    this.samples.set(key, list);
  }

  /** @param {string} key @param {number} now */
  rate(key, now) {
    let sum = 0;
    for (const { at, started } of this.samples.get(key) ?? []) if (at >= now - WINDOW_MS) sum += started;
    return sum / (WINDOW_MS / 1000);
  }

  /** @param {string} prefix @param {number} now */
  totalRate(prefix, now) {
    let sum = 0;
    for (const key of this.samples.keys()) if (key.startsWith(prefix)) sum += this.rate(key, now);
    return sum;
  }

  /** Forgets what is over. @param {Map<string, number>} inFlightByRoute @param {number} now */
  activeRoutes(inFlightByRoute, now) {
    const keys = new Set([...inFlightByRoute].flatMap(([key, n]) => (n > 0 ? key : [])));
    for (const [key, at] of this.lastSeen) {
      if (at > now - ACTIVE_MS) keys.add(key);
      else if (at < now - WINDOW_MS) {
        this.lastSeen.delete(key);
        this.samples.delete(key);
      }
    }
    return keys;
  }

  /** When the active routes change by themselves, or also the rates. @param {number} now @param {boolean} withRates */
  nextChange(now, withRates) {
    let next = Infinity;
    for (const at of this.lastSeen.values()) if (at + ACTIVE_MS > now) next = Math.min(next, at + ACTIVE_MS);
    for (const samples of withRates ? this.samples.values() : []) {
      const oldest = samples.find(({ at }) => at + WINDOW_MS > now);
      if (oldest) next = Math.min(next, oldest.at + WINDOW_MS);
    }
    return next === Infinity ? null : next;
  }
}
