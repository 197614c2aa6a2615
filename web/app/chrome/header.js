/** The header. */
import { $, drawIcons, setText } from "./dom.js";
import { addBackend } from "../dialogs/backend_dialog.js";
import { renderFilters } from "./filters.js";
import { isFiltering } from "../map/selection.js";
import { openPeersDialog } from "../dialogs/peers.js";
import { openSettings, openTry } from "./open.js";
import { formatCount, plural } from "../core/format.js";

/** @type {Record<string, string>} */
const LIGHT_LABELS = {
  green: "healthy",
  amber: "degraded",
  red: "down",
  grey: "not checked yet",
  unsure: "unsure",
};
let matchIndex = -1;

/**
 * @param {Store<AppState>} store
 * @param {MapView} map
 * @param {HeaderActions} act
 */
export function initHeader(store, map, act) {
  drawIcons(document);
  const find = $("find");
  find.value = store.state.query;
  find.oninput = () => ((matchIndex = -1), act.search(find.value));
  find.onkeydown = (/** @type {KeyboardEvent} */ e) => {
    const keys = [...(store.state.matches?.keys ?? [])];
    if (e.key === "Enter" && keys.length) {
      matchIndex = (matchIndex + (e.shiftKey ? keys.length - 1 : 1)) % keys.length;
      act.select(keys[matchIndex], true);
      find.focus();
    }
    if (e.key !== "Escape") return;
    e.stopPropagation();
    find.value = "";
    act.search("");
    find.blur();
  };
  const menu = $("filters");
  const drawFilters = () => !menu.hidden && renderFilters(store.state, act.filter);
  $("filter-button").onclick = () => {
    menu.hidden = !menu.hidden;
    drawFilters();
    $("filter-button").ariaExpanded = !menu.hidden;
    if (!menu.hidden) menu.querySelector("input")?.focus();
  };
  document.addEventListener("pointerdown", (e) => {
    if (!menu.hidden && e.target instanceof Element && !e.target.closest("#filters, #filter-button"))
      closeFilters();
  });
  /** @type {Record<string, ()=>void>} */
  const presses = {
    unhealthy: act.toggleUnhealthy,
    notices: () => act.select("r"),
    refresh: act.refresh,
    add: addBackend,
    peers: () => openPeersDialog(),
    try: () => openTry(),
    "view-button": () => act.changeSettings({ view: store.state.settings.view === "map" ? "table" : "map" }),
    settings: () => openSettings(),
    "help-button": () => $("help").showModal(),
  };
  for (const [id, press] of Object.entries(presses)) $(id).onclick = press;
  const zooms = [() => map.zoom(1.35), () => map.zoom(1 / 1.35), () => map.fit(), () => map.tidy()];
  zooms.forEach((zoom, i) => ($("zoom").children[i].onclick = zoom));
  store.subscribe((s) => s.filters, drawFilters);
  store.subscribe(
    ({ mesh, connection, filters, matches }) => [mesh, connection, filters, matches],
    () => renderSummary(store.state),
  );
  store.subscribe(
    ({ mesh }) => [mesh?.refresh?.done, mesh?.refresh?.total],
    ([done = 0, total = 0]) => renderRefresh(done, total),
  );
}

export function closeFilters() {
  $("filters").hidden = true;
  $("filter-button").ariaExpanded = false;
}

/** What the header says of the mesh. @param {AppState} state */
function renderSummary({ mesh, connection, filters, matches }) {
  const on = [...(mesh?.backends.values() ?? [])].filter((b) => b.enabled);
  const count = (/** @type {State} */ state) => on.filter((b) => b.health.state === state).length;
  const light = connection === "live" ? (mesh?.light ?? "grey") : "unsure";
  const unhealthy = count("unhealthy");
  const models = mesh?.models.size ?? 0;
  const notices = mesh?.notices ?? [];
  const filtered = isFiltering(filters);
  $("light").dataset.light = light;
  $("light-label").title = mesh?.light_reason ?? "";
  setText($("light-label"), light === "grey" && !on.length ? "no backend yet" : LIGHT_LABELS[light]);
  setText($("healthy-count"), `${formatCount(count("healthy"))}/${formatCount(on.length)}`);
  setText($("model-count"), formatCount(models));
  $("model-count").nextSibling.data = models === 1 ? " model" : " models";
  const only = $("unhealthy");
  only.hidden = !unhealthy && !filtered;
  setText(only, unhealthy ? `◆ ${formatCount(unhealthy)} unhealthy` : "Show everything");
  only.ariaPressed = filtered;
  $("notices").hidden = !notices.length;
  setText($("notices"), plural(notices.length, "notice"));
  $("notices").title = notices.join(" ");
  $("filter-button").classList.toggle("on", filtered);
  setText(
    $("hits"),
    matches ? `${plural(matches.backends, "backend")}, ${plural(matches.models, "model")}` : "",
  );
  $("connection").hidden = connection === "live";
  setText($("connection"), connection === "stale" ? "No news for 12 s" : "Connection lost, trying again");
  document.title = unhealthy ? `${unhealthy} down · Meshlight` : "Meshlight";
}

/** @param {number} done @param {number} total */
function renderRefresh(done, total) {
  const checking = done < total;
  setText($("refresh").querySelector("span"), checking ? `Checking ${done}/${total}` : "Refresh");
  $("refresh").style.setProperty("--part", checking ? String(done / total) : "0");
  $("refresh").ariaBusy = checking;
}
