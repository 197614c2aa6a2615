/** What the map says while it is empty: why, and what helps. */
import { $, h } from "./dom.js";
import { addBackend } from "./dialog.js";
import { noFilters } from "./picture.js";
import { KINDS } from "./kinds.js";

/** @param {App} app @param {"none"|"filtered"|"past"|"ready"} why */
export function showEmpty(app, why) {
  const root = $("empty");
  if (root.dataset.why === why) return;
  root.dataset.why = why;
  root.hidden = why === "ready";
  root.replaceChildren(...content(app, why));
}

/** @param {App} app @param {string} why */
function content(app, why) {
  const button = (/** @type {string} */ text, /** @type {()=>void} */ press, style = "primary") => h("button", { class: style, onclick: press, text });
  if (why === "filtered") return [h("h2", { text: "Nothing passes the filters" }), h("p", { text: "Every backend is filtered out at the moment." }), button("Show everything", () => app.filter(noFilters()))];
  if (why === "past") return [h("h2", { text: "Nothing is known of that moment" }), h("p", { text: "No backend was there." }), button("Back to live", () => app.travel(null))];
  if (why === "ready") return [];
  const ports = Object.values(KINDS).filter((kind) => kind.port);
  return [
    h("h2", { text: "No backend found yet" }),
    h("p", {}, "Meshlight looked on this machine for servers that are already running:"),
    h("ul", { class: "looked" }, ...ports.map((kind) => h("li", {}, h("b", { text: kind.label }), h("span", { text: `port ${kind.port}` })))),
    h("p", {}, "Start one of them and it appears here by itself within seconds. Or:"),
    h("div", { class: "row" }, button("Add a backend", addBackend), button("Look again", () => void app.refresh(), "")),
    h("p", { class: "quiet" }, "Only curious? ", h("code", { text: "meshlight demo" }), " starts small demo engines to look at."),
  ];
}
