/** The empty map: why, and what helps. Its words are in index.html. */
import { $, h } from "../chrome/dom.js";
import { addBackend } from "../dialogs/backend_dialog.js";
import { KINDS } from "../core/kinds.js";
import { isFiltering } from "./selection.js";

/** @param {AppState} state @returns {"loading"|"none"|"filtered"|"past"|"ready"} */
export function emptyReason({ mesh, shown, moment, filters }) {
  if (!mesh) return "loading";
  if (shown.size) return "ready";
  if (moment !== null) return "past";
  return isFiltering(filters) && mesh.backends.size ? "filtered" : "none";
}

/** @param {ReturnType<typeof emptyReason>} reason @param {{refresh:()=>void, showAll:()=>void, showNow:()=>void}} act */
export function showEmptyState(reason, act) {
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
    none: [addBackend, act.refresh],
    filtered: [act.showAll],
    past: [act.showNow],
    ready: [],
    loading: [],
  }[reason];
  root
    .querySelectorAll("button")
    .forEach((/** @type {HTMLElement} */ button, /** @type {number} */ i) =>
      button.addEventListener("click", () => void actions[i]()),
    );
}
