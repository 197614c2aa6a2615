/** The empty map: why, and what helps. Its words are in index.html, but for a mesh without any backend: Welcome has those. */
import { $ } from "../chrome/dom.js";
import { isFiltering } from "./selection.js";

/** @param {AppState} state @returns {"loading"|"none"|"filtered"|"past"|"ready"} */
export function emptyReason({ mesh, shown, moment, filters }) {
  if (!mesh) return "loading";
  if (shown.size) return "ready";
  if (moment !== null) return "past";
  return isFiltering(filters) && mesh.backends.size ? "filtered" : "none";
}

/** @param {ReturnType<typeof emptyReason>} reason @param {Record<"showAll"|"showNow", ()=>void>} act */
export function showEmptyState(reason, act) {
  const root = $("empty");
  if (root.dataset.why === reason) return;
  root.dataset.why = reason;
  root.hidden = reason === "ready";
  root.replaceChildren(...($(`empty-${reason}`)?.content.cloneNode(true).children ?? []));
  root.querySelector("button")?.addEventListener("click", reason === "past" ? act.showNow : act.showAll);
}
