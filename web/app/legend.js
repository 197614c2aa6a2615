/** The legend: how each look is drawn, in the very strokes of the map. */
import { $, h, iconButton } from "./dom.js";
import { PALETTES } from "./colours.js";
import { LOOKS } from "./states.js";
/** @import { Look } from "./types.js" */

/**
 * @param {keyof typeof PALETTES} theme
 * @param {boolean} open
 * @param {()=>void} toggle
 */
export function drawLegend(theme, open, toggle) {
  const palette = PALETTES[theme];
  const items = /** @type {Look[]} */ (["healthy", "warming", "unhealthy", "unknown", "disabled"]).map((look) =>
    item(`${LOOKS[look].glyph} ${LOOKS[look].word}`, (pen) => {
      pen.strokeStyle = palette.looks[look];
      pen.setLineDash(LOOKS[look].dash);
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(1, 6);
      pen.lineTo(25, 6);
      pen.stroke();
    }));
  const mark = (/** @type {string} */ text, /** @type {string} */ colour, /** @type {boolean} */ diamond) => item(text, (pen) => {
    pen.fillStyle = colour;
    pen.beginPath();
    if (diamond) for (const [x, y] of [[13, 1], [18, 6], [13, 11], [8, 6]]) pen.lineTo(x, y);
    else pen.arc(13, 6, 3.4, 0, 7);
    pen.fill();
  });
  $("legend").replaceChildren(
    iconButton("legend", open ? "Hide the legend" : "Show the legend", toggle, { class: "tool small", "aria-expanded": String(open) }),
    ...(open ? [h("ul", {}, ...items, mark("request", palette.looks.healthy, false), mark("failed request", palette.looks.unhealthy, true))] : []));
}

/** @param {string} text @param {(pen:CanvasRenderingContext2D)=>void} draw */
function item(text, draw) {
  const canvas = h("canvas", { width: 52, height: 24, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  if (pen) {
    pen.scale(2, 2);
    draw(pen);
  }
  return h("li", {}, canvas, text);
}
