/** What stands on the map while there is nothing to draw: why, and what helps. */
import { $, h } from "./dom.js";
import { KINDS } from "./kinds.js";

/**
 * @param {"none"|"filtered"|"past"|"ready"} why
 * @param {{add:()=>void, refresh:()=>void, clear:()=>void, live:()=>void}} act
 */
export function showEmpty(why, act) {
  const root = $("empty");
  if (root.dataset.why === why) return;
  root.dataset.why = why;
  root.hidden = why === "ready";
  root.replaceChildren(...content(why, act));
}

/** @param {string} why @param {{add:()=>void, refresh:()=>void, clear:()=>void, live:()=>void}} act */
function content(why, act) {
  const button = (/** @type {string} */ text, /** @type {()=>void} */ press, style = "") => h("button", { type: "button", class: style, onclick: press, text });
  if (why === "filtered") return [h("h2", { text: "Nothing passes the filters" }), h("p", { text: "Every backend is filtered out at the moment." }), button("Show everything", act.clear, "primary")];
  if (why === "past") return [h("h2", { text: "Nothing is known of that moment" }), h("p", { text: "The page was not open yet, or slept." }), button("Back to live", act.live, "primary")];
  if (why !== "none") return [];
  const ports = Object.values(KINDS).filter((kind) => kind.port);
  return [
    h("h2", { text: "No backend found yet" }),
    h("p", {}, "Meshlight looked on this machine for servers that are already running:"),
    h("ul", { class: "looked" }, ...ports.map((kind) => h("li", {}, h("b", { text: kind.label }), h("span", { text: `port ${kind.port}` })))),
    h("p", {}, "Start one of them and it appears here by itself within seconds. Or:"),
    h("div", { class: "row" }, button("Add a backend", act.add, "primary"), button("Look again", act.refresh)),
    h("p", { class: "quiet" }, "Only curious? ", h("code", { text: "meshlight demo" }), " starts small demo engines to look at."),
  ];
}
