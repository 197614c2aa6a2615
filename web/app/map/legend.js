/** The legend, drawn as the map is; without canvases, since each costs the browser a layer in every frame. */
import { $, h, iconButton } from "../chrome/dom.js";
import { OFFERED_DASH, STATUS_STYLES } from "./status_styles.js";

/** @param {boolean} open @param {()=>void} toggle */
export function drawLegend(open, toggle) {
  const button = iconButton("legend", open ? "Hide the legend" : "Show the legend", toggle, {
    class: "tool small",
    "aria-expanded": String(open),
  });
  const lines = Object.entries(STATUS_STYLES).map(([status, { glyph, dash }]) => {
    const item = h("li", { "data-status": status }, `${glyph} ${status}`);
    item.style.setProperty("--line", dashed(dash));
    return item;
  });
  const offered = h("li", { class: "offered" }, "○ offered, not used");
  offered.style.setProperty("--line", dashed(OFFERED_DASH));
  const marks = [
    offered,
    h("li", { class: "words" }, "● in memory ○ not yet"),
    h("li", { class: "words" }, "●○ slots"),
    h("li", { class: "request waits" }, "waiting"),
    h("li", { class: "request", "data-status": "healthy" }, "request"),
    h("li", { class: "request", "data-status": "unhealthy" }, "failed request"),
  ];
  $("legend").replaceChildren(button, ...(open ? [h("ul", {}, ...lines, ...marks)] : []));
}

/** A dashed line as a background. @param {number[]} dash lengths of strokes and gaps in turn; none is a whole line */
function dashed(dash) {
  let end = 0;
  const stops = (dash.length ? dash : [1]).map((length, i) => {
    const start = end;
    end += length;
    return `${i % 2 ? "transparent" : "var(--status-colour)"} ${start}px ${end}px`;
  });
  return `repeating-linear-gradient(90deg, ${stops.join(", ")})`;
}
