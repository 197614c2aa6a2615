/** The keyboard. */
import { $, keyOf } from "./dom.js";
import { addBackend } from "./dialog.js";
import { closeFilters } from "./header.js";
import { showPeers } from "./peers.js";
import { walk } from "./walk.js";

/** @param {App} app */
export function joinKeys(app) {
  const { stage } = app;
  /** @type {string|null} */
  let last = null;
  $("world").addEventListener("click", (/** @type {Event} */ e) => {
    const key = keyOf(e);
    if (key) app.select(key);
  });
  $("world").addEventListener("focusin", (/** @type {Event} */ e) => {
    const key = keyOf(e);
    if (!key) return;
    if (key.startsWith("b:")) last = key;
    stage.cards.goTo(key, false);
  });
  $("world").addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    const key = keyOf(e);
    if (!key || e.altKey || e.ctrlKey || e.metaKey || !/^(Arrow|Home|End)/.test(e.key)) return;
    e.preventDefault();
    const to = walk(stage.layout, key, /** @type {any} */ (e.key), last);
    if (!to) return;
    stage.reveal(to, true);
    stage.draw();
    // A card out of view exists after the next frame.
    if (!stage.cards.goTo(to, true)) requestAnimationFrame(() => stage.cards.goTo(to, true));
  });
  /** @type {Record<string, ()=>void>} */
  const keys = {
    "+": () => stage.zoom(1.35), "=": () => stage.zoom(1.35), "-": () => stage.zoom(1 / 1.35), 0: () => stage.fit(), f: () => stage.fit(),
    "/": () => $("find").select(), t: () => app.set({ view: app.settings.view === "map" ? "table" : "map" }), r: () => void app.refresh(),
    a: addBackend, p: () => showPeers(), "?": () => $("help").showModal(),
    Escape: () => {
      if (!$("filters").hidden) return closeFilters(), $("filter").focus();
      if (app.selected) return app.select(null);
      if (app.past !== null) app.travel(null);
    },
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || document.querySelector("dialog[open]") || !$("session").hidden) return;
    const typing = e.target instanceof Element && e.target.matches("input:not([type=checkbox], [type=range]), select, textarea");
    if (typing && e.key !== "Escape") return;
    const act = keys[e.key];
    if (!act) return;
    e.preventDefault();
    app.tooltip.show(null);
    act();
  });
}
