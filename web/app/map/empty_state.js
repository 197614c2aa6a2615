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

/** @param {ReturnType<typeof emptyReason>} reason @param {Store<AppState>} store @param {Record<"refresh"|"showAll"|"showNow"|"openLocal", ()=>void>} act */
export function showEmptyState(reason, store, act) {
  const root = $("empty");
  if (root.dataset.why === reason) return;
  root.dataset.why = reason;
  root.hidden = reason === "ready";
  root.replaceChildren(...($(`empty-${reason}`)?.content.cloneNode(true).children ?? []));
  root
    .querySelector(".known-servers")
    ?.append(
      ...[...KINDS.values()]
        .filter((kind) => kind.port)
        .map((kind) => h("li", {}, h("b", { text: kind.label }), h("span", { text: `port ${kind.port}` }))),
    );
  const actions = {
    none: [act.openLocal, addBackend, act.refresh],
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
  if (reason === "none") followLocal(root, store);
}

/** Offer starters as soon as the service does, for as long as nothing else is there. @param {any} root @param {Store<AppState>} store */
function followLocal(root, store) {
  const own = root.querySelector(".own-models");
  /** @type {{update:()=>void}|null} */
  let offers = null;
  const update = async () => {
    const { local } = store.state;
    if (root.dataset.why !== "none") return end();
    if (!local?.enabled || !local.starters.length) return;
    own.querySelector(".no-runner").hidden = local.can_run;
    if (offers) return offers.update();
    offers = { update: () => {} };
    const { starterOffers } = await import("../panel/downloads.js");
    const made = (offers = starterOffers(store, true));
    own.querySelector(".offers-here").append(made.el);
    made.update();
    own.hidden = false;
    root.querySelector(".servers").open = false;
    root.querySelector(".row .primary").className = "";
    const title = root.querySelector("h2");
    title.textContent = title.dataset.own;
  };
  const end = store.subscribe(
    (s) => s.local,
    () => void update(),
  );
  void update();
}
