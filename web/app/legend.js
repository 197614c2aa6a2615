/** The legend, in the strokes of the map. */
import { along, diamond, penOf } from "./canvas.js";
import { $, h, iconButton } from "./dom.js";
import { PALETTES } from "./colours.js";
import { LOOKS } from "./states.js";

/** @param {Theme} theme @param {boolean} open @param {()=>void} toggle */
export function drawLegend(theme, open, toggle) {
  const palette = PALETTES[theme];
  const items = /** @type {Look[]} */ (["healthy", "warming", "unhealthy", "unknown", "disabled"]).map((look) =>
    item(`${LOOKS[look].glyph} ${LOOKS[look].word}`, (pen) => {
      pen.strokeStyle = palette.looks[look];
      pen.setLineDash(LOOKS[look].dash);
      pen.lineWidth = 2;
      pen.beginPath();
      along(pen, [1, 6, 25, 6]);
      pen.stroke();
    }));
  const mark = (/** @type {string} */ text, /** @type {Look} */ look) => item(text, (pen) => {
    pen.fillStyle = palette.looks[look];
    pen.beginPath();
    if (look === "unhealthy") diamond(pen, 13, 6, 5);
    else pen.arc(13, 6, 3.4, 0, 7);
    pen.fill();
  });
  $("legend").replaceChildren(
    iconButton("legend", open ? "Hide the legend" : "Show the legend", toggle, { class: "tool small", "aria-expanded": String(open) }),
    ...(open ? [h("ul", {}, ...items, mark("request", "healthy"), mark("failed request", "unhealthy"))] : []));
}

/** @param {string} text @param {(pen:Pen)=>void} draw */
function item(text, draw) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  draw(penOf(canvas, 26, 12));
  return h("li", {}, canvas, text);
}

const KEYS = [
  ["← → ↑ ↓", "walk along the mesh"], ["Enter", "open the details of what is focused"], ["Esc", "close, and let the choice go"],
  ["/", "find a backend or model"], ["r", "check every backend now"], ["t", "table or map"], ["f or 0", "show everything"],
  ["+ −", "zoom in and out"], ["a", "add a backend"], ["?", "this help"],
];

export function showHelp() {
  const dialog = $("dialog");
  const close = h("button", { class: "primary", onclick: () => dialog.close() }, "Close");
  dialog.setAttribute("aria-label", "Help");
  dialog.replaceChildren(
    h("h2", { text: "Reading the mesh" }),
    h("p", { text: "From left to right: you, the router on this machine, the backends it can reach, and the models they serve. A prompt travels further the lower its lane lies." }),
    h("p", { text: "Every dot that moves is a real request: out to the backend, and back as its answer. A diamond is a failed one. When nothing moves, nothing is asked." }),
    h("dl", { class: "keys" }, ...KEYS.map(([key, text]) => h("div", {}, h("dt", {}, h("kbd", { text: key })), h("dd", { text })))),
    h("p", { class: "quiet", text: "Wheel or pinch zooms at the pointer, dragging pans, a double click dives into a lane and out again." }),
    h("div", { class: "row end" }, close));
  dialog.showModal();
  close.focus();
}
