/** The colours of the canvases: those of styles/tokens.css, as the page has them now. */
import { h } from "../chrome/dom.js";

/** How strongly the tile of a model at rest is drawn. @type {Record<Theme, number>} */
const TILE_ALPHA = { dark: 0.42, light: 0.5, contrast: 0.75, forced: 0.6 };

/** @type {Palette} */
let current;

export const palette = () => current;

/** Read them anew. @param {Theme} theme that the page has now */
export function readPalette(theme) {
  const probe = document.body.appendChild(h("i"));
  const read = (/** @type {string} */ name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  probe.style.forcedColorAdjust = "none";
  const [healthy, warming, unhealthy, unknown, disabled, page, lane, laneLine, line, ink, muted, accent] =
    "healthy warming unhealthy unknown disabled page lane line card-line ink muted accent"
      .split(" ")
      .map(read);
  probe.remove();
  const statuses = { healthy, warming, unhealthy, unknown, disabled };
  const quietModelAlpha = TILE_ALPHA[theme];
  current = { statuses, page, lane, laneLine, line, ink, muted, accent, quietModelAlpha };
  return current;
}
