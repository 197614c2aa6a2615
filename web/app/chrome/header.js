/** The header. */
import { $, icon, setText } from "./dom.js";
import { addBackend } from "../dialogs/backend_dialog.js";
import { renderFilters, isFiltering } from "./filters.js";
import { openPeersDialog } from "../dialogs/peers.js";
import { formatCount, plural } from "../core/format.js";

const THEMES = /** @type {const} */ (["system", "dark", "light", "contrast"]);
/** @type {Record<string, string>} */
const LIGHT_LABELS = { green: "healthy", amber: "degraded", red: "down", grey: "waiting", unsure: "unsure" };
let matchIndex = -1;

/** @param {App} app */
export function initHeader(app) {
  for (const place of document.querySelectorAll("[data-icon]"))
    place.replaceWith(icon(/** @type {HTMLElement} */ (place).dataset.icon ?? ""));
  const find = $("find");
  find.value = app.query;
  find.addEventListener("input", () => ((matchIndex = -1), app.search(find.value)));
  find.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    if (e.key === "Enter" && app.matches?.keys.size) {
      const keys = [...app.matches.keys];
      matchIndex = (matchIndex + (e.shiftKey ? keys.length - 1 : 1)) % keys.length;
      app.select(keys[matchIndex], true);
      find.focus();
    }
    if (e.key !== "Escape") return;
    e.stopPropagation();
    find.value = "";
    app.search("");
    find.blur();
  });
  const menu = $("filters");
  $("filter-button").addEventListener("click", () => {
    menu.hidden = !menu.hidden;
    if (!menu.hidden) renderFilters(app);
    $("filter-button").setAttribute("aria-expanded", String(!menu.hidden));
    if (!menu.hidden) menu.querySelector("input")?.focus();
  });
  document.addEventListener("pointerdown", (e) => {
    if (!menu.hidden && e.target instanceof Element && !e.target.closest("#filters, #filter-button"))
      closeFilters();
  });
  const { map } = app;
  /** @type {Record<string, ()=>void>} */
  const presses = {
    unhealthy: () => app.toggleUnhealthy(),
    notices: () => app.select("r"),
    refresh: () => void app.refresh(),
    add: addBackend,
    peers: () => openPeersDialog(),
    "view-button": () => app.set({ view: app.settings.view === "map" ? "table" : "map" }),
    "help-button": () => $("help").showModal(),
    "theme-button": () =>
      app.set({ theme: THEMES[(THEMES.indexOf(app.settings.theme) + 1) % THEMES.length] }),
  };
  for (const [id, press] of Object.entries(presses)) $(id).addEventListener("click", press);
  const zooms = [
    () => map.zoom(1.35),
    () => map.zoom(1 / 1.35),
    () => map.fit(),
    () => ((map.laidOutTopology = ""), (map.autoFit = true), map.draw()),
  ];
  zooms.forEach((zoom, i) => $("zoom").children[i].addEventListener("click", zoom));
}

export function closeFilters() {
  $("filters").hidden = true;
  $("filter-button").setAttribute("aria-expanded", "false");
}

/** @param {App} app */
export function renderHeader(app) {
  const { mesh } = app;
  if (!mesh) return;
  const all = [...mesh.backends.values()];
  const on = all.filter((b) => b.enabled);
  const healthy = on.filter((b) => b.health.state === "healthy").length;
  const unhealthy = on.filter((b) => b.health.state === "unhealthy").length;
  const light = app.connection === "live" ? mesh.light : "unsure";
  $("light").dataset.light = light;
  $("light-label").title = mesh.light_reason;
  setText($("light-label"), LIGHT_LABELS[light]);
  setText($("healthy-count"), `${formatCount(healthy)}/${formatCount(on.length)}`);
  setText($("model-count"), formatCount(mesh.models.size));
  const only = $("unhealthy");
  only.hidden = !unhealthy && !isFiltering(app.filters);
  setText(only, unhealthy ? `◆ ${formatCount(unhealthy)} unhealthy` : "Show everything");
  only.setAttribute("aria-pressed", String(isFiltering(app.filters)));
  $("notices").hidden = !mesh.notices.length;
  setText($("notices"), plural(mesh.notices.length, "notice"));
  $("notices").title = mesh.notices.join(" ");
  $("filter-button").classList.toggle("on", isFiltering(app.filters));
  const { matches } = app;
  setText(
    $("hits"),
    matches ? `${plural(matches.backends, "backend")}, ${plural(matches.models, "model")}` : "",
  );
  const r = mesh.refresh;
  const checking = r !== null && r.done < r.total;
  setText($("refresh").querySelector("span"), checking ? `Checking ${r.done}/${r.total}` : "Refresh");
  $("refresh").style.setProperty("--part", checking ? String(r.done / Math.max(1, r.total)) : "0");
  $("refresh").setAttribute("aria-busy", String(checking));
  const connection = $("connection");
  connection.hidden = app.connection === "live";
  setText(connection, app.connection === "stale" ? "No news for 12 s" : "Connection lost, trying again");
  const { theme, view } = app.settings;
  const label = `Theme: ${theme === "contrast" ? "high contrast" : theme}`;
  $("theme-button").setAttribute("aria-label", label);
  $("theme-button").title = label;
  $("view-button").setAttribute("aria-pressed", String(view === "table"));
  document.title = unhealthy ? `${unhealthy} down · Meshlight` : "Meshlight";
}
