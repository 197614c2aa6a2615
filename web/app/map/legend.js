/** The legend, drawn as the map is. */
import { along, diamond, penOf } from "./canvas.js";
import { $, h, iconButton } from "../chrome/dom.js";
import { PALETTES } from "./colours.js";
import { LOOKS } from "./status_styles.js";

/** @param {Theme} theme @param {boolean} open @param {()=>void} toggle */
export function drawLegend(theme, open, toggle) {
  const palette = PALETTES[theme];
  const items = /** @type {Look[]} */ (Object.keys(LOOKS)).map((look) =>
    item(`${LOOKS[look].glyph} ${look}`, (pen) => {
      pen.strokeStyle = palette.looks[look];
      pen.setLineDash(LOOKS[look].dash);
      pen.lineWidth = 2;
      pen.beginPath();
      along(pen, [1, 6, 25, 6]);
      pen.stroke();
    }),
  );
  const mark = (/** @type {string} */ text, /** @type {Look} */ look) =>
    item(text, (pen) => {
      pen.fillStyle = palette.looks[look];
      pen.beginPath();
      if (look === "unhealthy") diamond(pen, 13, 6, 5);
      else pen.arc(13, 6, 3.4, 0, 7);
      pen.fill();
    });
  $("legend").replaceChildren(
    iconButton("legend", open ? "Hide the legend" : "Show the legend", toggle, {
      class: "tool small",
      "aria-expanded": String(open),
    }),
    ...(open ? [h("ul", {}, ...items, mark("request", "healthy"), mark("failed request", "unhealthy"))] : []),
  );
}

/** @param {string} text @param {(pen:Pen)=>void} draw */
function item(text, draw) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  draw(penOf(canvas, 26, 12));
  return h("li", {}, canvas, text);
}
