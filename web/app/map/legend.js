/** The legend, drawn as the map is: as SVG, since each canvas costs the browser a layer in every frame. */
import { $, iconButton } from "../chrome/dom.js";
import { STATUS_STYLES } from "./status_styles.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {boolean} open @param {()=>void} toggle */
export function drawLegend(open, toggle) {
  const button = iconButton("legend", open ? "Hide the legend" : "Show the legend", toggle, {
    class: "tool small",
    "aria-expanded": String(open),
  });
  const list = document.createElement("ul");
  for (const [status, { glyph, dash }] of Object.entries(STATUS_STYLES))
    list.append(item(`${glyph} ${status}`, status, { d: "M1 6h24", "stroke-dasharray": dash.join(" ") }));
  list.append(item("request", "healthy", { d: "M13 2.6a3.4 3.4 0 1 1-.01 0z", class: "filled" }));
  list.append(item("failed request", "unhealthy", { d: "M13 1l5 5-5 5-5-5z", class: "filled" }));
  $("legend").replaceChildren(button, ...(open ? [list] : []));
}

/** @param {string} text @param {string} status whose colour it has @param {Record<string, string>} path */
function item(text, status, path) {
  const [li, svg, line] = [
    document.createElement("li"),
    document.createElementNS(SVG, "svg"),
    document.createElementNS(SVG, "path"),
  ];
  li.dataset.status = status;
  svg.setAttribute("aria-hidden", "true");
  for (const [name, value] of Object.entries(path)) line.setAttribute(name, value);
  svg.append(line);
  li.append(svg, text);
  return li;
}
