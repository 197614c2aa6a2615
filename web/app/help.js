/** The help overlay: keys, gestures, and what the picture means. */
import { $, h } from "./dom.js";

const KEYS = [
  ["← → ↑ ↓", "walk along the mesh"], ["Enter", "open the details of what is focused"], ["Esc", "close, and let the choice go"],
  ["/", "find a backend or model"], ["r", "check every backend now"], ["t", "table or map"], ["f or 0", "show everything"],
  ["+ −", "zoom in and out"], ["a", "add a backend"], ["?", "this help"],
];

export function showHelp() {
  const dialog = $("dialog");
  const close = h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
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
