/** The legend, drawn as the map is; without canvases, since each costs the browser a layer in every frame. */
import { $ } from "../chrome/dom.js";
import { OFFERED_DASH, STATUS_STYLES } from "./status_styles.js";

/** @param {boolean} open @param {()=>void} toggle */
export function drawLegend(open, toggle) {
  const [button, list] = $("legend").children;
  button.onclick = toggle;
  button.ariaLabel = button.title = open ? "Hide the legend" : "Show the legend";
  button.ariaExpanded = open;
  list.hidden = !open;
  for (const line of list.children) {
    const { of: status } = /** @type {{of?:Status}} */ (line.dataset);
    if (status) line.style.setProperty("--line", dashed(STATUS_STYLES[status]?.dash ?? OFFERED_DASH));
  }
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
