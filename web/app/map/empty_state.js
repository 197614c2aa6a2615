/** The empty map: why, and what helps. Its words are in index.html. */
import { $, h } from "../chrome/dom.js";
import { addBackend } from "../dialogs/backend_dialog.js";
import { KINDS } from "../core/kinds.js";
import { noFilters } from "./selection.js";

/** @param {App} app @param {"none"|"filtered"|"past"|"ready"} why */
export function showEmpty(app, why) {
  const root = $("empty");
  if (root.dataset.why === why) return;
  root.dataset.why = why;
  root.hidden = why === "ready";
  root.replaceChildren(...($(`empty-${why}`)?.content.cloneNode(true).children ?? []));
  root
    .querySelector("ul")
    ?.append(
      ...[...KINDS.values()]
        .filter((kind) => kind.port)
        .map((kind) => h("li", {}, h("b", { text: kind.label }), h("span", { text: `port ${kind.port}` }))),
    );
  const acts = {
    none: [addBackend, () => app.refresh()],
    filtered: [() => app.filter(noFilters())],
    past: [() => app.travel(null)],
    ready: [],
  }[why];
  root
    .querySelectorAll("button")
    .forEach((/** @type {HTMLElement} */ button, /** @type {number} */ i) =>
      button.addEventListener("click", () => void acts[i]()),
    );
}
