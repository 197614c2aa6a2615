/** The header. */
import { $, icon, say } from "./dom.js";
import { addBackend } from "../dialogs/backend_dialog.js";
import { drawFilters, filtering } from "./filters.js";
import { showPeers } from "../dialogs/peers.js";
import { count, many } from "../core/format.js";

const THEMES = /** @type {const} */ (["system", "dark", "light", "contrast"]);
/** @type {Record<string, string>} */
const WORDS = { green: "healthy", amber: "degraded", red: "down", grey: "waiting", unsure: "unsure" };
let place = -1;

/** @param {App} app */
export function joinHeader(app) {
  for (const place of document.querySelectorAll("[data-icon]"))
    place.replaceWith(icon(/** @type {HTMLElement} */ (place).dataset.icon ?? ""));
  const find = $("find");
  find.value = app.query;
  find.addEventListener("input", () => ((place = -1), app.find(find.value)));
  find.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    if (e.key === "Enter" && app.found?.keys.size) {
      const keys = [...app.found.keys];
      place = (place + (e.shiftKey ? keys.length - 1 : 1)) % keys.length;
      app.select(keys[place], true);
      find.focus();
    }
    if (e.key !== "Escape") return;
    e.stopPropagation();
    find.value = "";
    app.find("");
    find.blur();
  });
  const menu = $("filters");
  $("filter").addEventListener("click", () => {
    menu.hidden = !menu.hidden;
    if (!menu.hidden) drawFilters(app);
    $("filter").setAttribute("aria-expanded", String(!menu.hidden));
    if (!menu.hidden) menu.querySelector("input")?.focus();
  });
  document.addEventListener("pointerdown", (e) => {
    if (!menu.hidden && e.target instanceof Element && !e.target.closest("#filters, #filter")) closeFilters();
  });
  const { stage } = app;
  /** @type {Record<string, ()=>void>} */
  const presses = {
    unhealthy: () => app.toggleUnhealthy(),
    notices: () => app.select("r"),
    refresh: () => void app.refresh(),
    add: addBackend,
    peers: () => showPeers(),
    view: () => app.set({ view: app.settings.view === "map" ? "table" : "map" }),
    reading: () => $("help").showModal(),
    theme: () => app.set({ theme: THEMES[(THEMES.indexOf(app.settings.theme) + 1) % THEMES.length] }),
  };
  for (const [id, press] of Object.entries(presses)) $(id).addEventListener("click", press);
  const zooms = [
    () => stage.zoom(1.35),
    () => stage.zoom(1 / 1.35),
    () => stage.fit(),
    () => ((stage.laidOut = ""), (stage.auto = true), stage.draw()),
  ];
  zooms.forEach((zoom, i) => $("zoom").children[i].addEventListener("click", zoom));
}

export function closeFilters() {
  $("filters").hidden = true;
  $("filter").setAttribute("aria-expanded", "false");
}

/** @param {App} app */
export function drawHeader(app) {
  const { mesh } = app;
  if (!mesh) return;
  const all = [...mesh.backends.values()];
  const on = all.filter((b) => b.enabled);
  const well = on.filter((b) => b.health.state === "healthy").length;
  const bad = on.filter((b) => b.health.state === "unhealthy").length;
  const light = app.line === "live" ? mesh.light : "unsure";
  $("light").dataset.light = light;
  $("word").title = mesh.light_reason;
  say($("word"), WORDS[light]);
  say($("well"), `${count(well)}/${count(on.length)}`);
  say($("models"), count(mesh.models.size));
  const only = $("unhealthy");
  only.hidden = !bad && !filtering(app.filters);
  say(only, bad ? `◆ ${count(bad)} unhealthy` : "Show everything");
  only.setAttribute("aria-pressed", String(filtering(app.filters)));
  $("notices").hidden = !mesh.notices.length;
  say($("notices"), many(mesh.notices.length, "notice"));
  $("notices").title = mesh.notices.join(" ");
  $("filter").classList.toggle("on", filtering(app.filters));
  const { found } = app;
  say($("hits"), found ? `${many(found.backends, "backend")}, ${many(found.models, "model")}` : "");
  const r = mesh.refresh;
  const checking = r !== null && r.done < r.total;
  say($("refresh").querySelector("span"), checking ? `Checking ${r.done}/${r.total}` : "Refresh");
  $("refresh").style.setProperty("--part", checking ? String(r.done / Math.max(1, r.total)) : "0");
  $("refresh").setAttribute("aria-busy", String(checking));
  const pill = $("line");
  pill.hidden = app.line === "live";
  say(pill, app.line === "stale" ? "No news for 12 s" : "Connection lost, trying again");
  const { theme, view } = app.settings;
  const label = `Theme: ${theme === "contrast" ? "high contrast" : theme}`;
  $("theme").setAttribute("aria-label", label);
  $("theme").title = label;
  $("view").setAttribute("aria-pressed", String(view === "table"));
  document.title = bad ? `${bad} down · Meshlight` : "Meshlight";
}
