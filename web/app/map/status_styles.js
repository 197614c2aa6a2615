/** What tells the statuses apart besides their colour. */

/** @type {Record<Status, {glyph:string, dash:number[]}>} */
export const STATUS_STYLES = {
  healthy: { glyph: "✓", dash: [] },
  warming: { glyph: "◐", dash: [9, 3, 2, 3] },
  unhealthy: { glyph: "✕", dash: [6, 4] },
  unknown: { glyph: "?", dash: [3, 4] },
  disabled: { glyph: "–", dash: [1, 4] },
};

/** @type {Status[]} */
export const STATUS_ORDER = ["unhealthy", "warming", "unknown", "healthy", "disabled"];

/** How what is offered and not used is drawn. */
export const OFFERED_DASH = [5, 4];

/** The reason of an engine that was found and is not used, for it runs as another user of this machine. */
export const OTHER_USER = "other-user";

export const RING_LABELS = /** @type {const} */ ({
  machine: "This machine",
  lan: "LAN peers",
  company: "Company",
  cloud: "Cloud",
});

/** @type {Ring[]} */
export const RING_ORDER = ["machine", "lan", "company", "cloud"];

/** @param {{enabled:boolean, health:{state:State}}} backend @returns {Status} */
export const statusOf = (backend) => (backend.enabled ? backend.health.state : "disabled");

/** @param {ShownBackend} backend @returns {StatusLabel} */
export const statusLabel = ({ status, degraded }) => (degraded ? "degraded" : status);

/** @param {StatusLabel} label */
export const glyphOf = (label) => (label === "degraded" ? "!" : STATUS_STYLES[label]?.glyph);
