/** The empty map: why, and what helps. Its words are in index.html. */
import { $, h } from "../chrome/dom.js";
import { addBackend } from "../dialogs/backend_dialog.js";
import { KINDS } from "../core/kinds.js";
import { noFilters } from "./selection.js";

/** @param {App} app @param {"none"|"filtered"|"past"|"ready"} reason */
export function showEmptyState(app, reason) {
  const root = $("empty");
  if (root.dataset.why === reason) return;
  root.dataset.why = reason;
  root.hidden = reason === "ready";
  root.replaceChildren(...($(`empty-${reason}`)?.content.cloneNode(true).children ?? []));
  root
    .querySelector("ul")
    ?.append(
      ...[...KINDS.values()]
        .filter((kind) => kind.port)
        .map((kind) => h("li", {}, h("b", { text: kind.label }), h("span", { text: `port ${kind.port}` }))),
    );
  const actions = {
    none: [addBackend, () => app.refresh()],
    filtered: [() => app.filter(noFilters())],
    past: [() => app.showMoment(null)],
    ready: [],
  }[reason];
  root
    .querySelectorAll("button")
    .forEach((/** @type {HTMLElement} */ button, /** @type {number} */ i) =>
      button.addEventListener("click", () => void actions[i]()),
    );
}
