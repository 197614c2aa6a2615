/** The legend, drawn as the map is. */
import { polyline, diamond, sizedContext } from "./canvas.js";
import { $, h, iconButton } from "../chrome/dom.js";
import { PALETTES } from "./colours.js";
import { STATUS_STYLES } from "./status_styles.js";

/** @param {Theme} theme @param {boolean} open @param {()=>void} toggle */
export function drawLegend(theme, open, toggle) {
  const palette = PALETTES[theme];
  const items = /** @type {Status[]} */ (Object.keys(STATUS_STYLES)).map((status) =>
    item(`${STATUS_STYLES[status].glyph} ${status}`, (ctx) => {
      ctx.strokeStyle = palette.statuses[status];
      ctx.setLineDash(STATUS_STYLES[status].dash);
      ctx.lineWidth = 2;
      ctx.beginPath();
      polyline(ctx, [1, 6, 25, 6]);
      ctx.stroke();
    }),
  );
  const mark = (/** @type {string} */ text, /** @type {Status} */ status) =>
    item(text, (ctx) => {
      ctx.fillStyle = palette.statuses[status];
      ctx.beginPath();
      if (status === "unhealthy") diamond(ctx, 13, 6, 5);
      else ctx.arc(13, 6, 3.4, 0, 7);
      ctx.fill();
    });
  $("legend").replaceChildren(
    iconButton("legend", open ? "Hide the legend" : "Show the legend", toggle, {
      class: "tool small",
      "aria-expanded": String(open),
    }),
    ...(open ? [h("ul", {}, ...items, mark("request", "healthy"), mark("failed request", "unhealthy"))] : []),
  );
}

/** @param {string} text @param {(ctx:Context2D)=>void} draw */
function item(text, draw) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  draw(sizedContext(canvas, 26, 12));
  return h("li", {}, canvas, text);
}
