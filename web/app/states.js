/** What each look is called, and its glyph and dash. */

/** @type {Record<Look, {word:string, glyph:string, dash:number[], rank:number}>} */
export const LOOKS = {
  healthy: { word: "healthy", glyph: "✓", dash: [], rank: 3 },
  warming: { word: "warming", glyph: "◐", dash: [9, 3, 2, 3], rank: 1 },
  unhealthy: { word: "unhealthy", glyph: "✕", dash: [6, 4], rank: 0 },
  unknown: { word: "unknown", glyph: "?", dash: [3, 4], rank: 2 },
  disabled: { word: "disabled", glyph: "–", dash: [1, 4], rank: 4 },
};

/** @type {Look[]} */
export const LOOK_ORDER = ["unhealthy", "warming", "unknown", "healthy", "disabled"];

/** The rings, from near to far. */
export const RINGS = /** @type {const} */ ({
  machine: "This machine",
  lan: "LAN peers",
  company: "Company",
  cloud: "Cloud",
});

/** @type {Ring[]} */
export const RING_ORDER = ["machine", "lan", "company", "cloud"];

/** The look of a backend. @param {{enabled:boolean, health:{state:State}}} backend @returns {Look} */
export const lookOf = (backend) => (backend.enabled ? backend.health.state : "disabled");
