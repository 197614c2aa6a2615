/** The keyboard. Which key presses which button: see aria-keyshortcuts in index.html. */
import { $, keyOfEvent } from "./dom.js";
import { closeFilters } from "./header.js";
import { nextKey } from "../map/keyboard_nav.js";

/**
 * @param {Store<AppState>} store
 * @param {MapView} map
 * @param {{select:PanelContext["select"], showNow:()=>void, hideTooltip:()=>void}} act
 */
export function initKeys(store, map, act) {
  /** @type {string|null} */
  let lastBackend = null;
  $("world").onclick = (/** @type {Event} */ e) => {
    const key = keyOfEvent(e);
    if (key) act.select(key);
  };
  $("world").addEventListener("focusin", (/** @type {Event} */ e) => {
    const key = keyOfEvent(e);
    if (!key) return;
    if (key.startsWith("b:")) lastBackend = key;
    map.cards.makeTabStop(key, false);
  });
  $("world").onkeydown = (/** @type {KeyboardEvent} */ e) => {
    const key = keyOfEvent(e);
    if (!key || e.altKey || e.ctrlKey || e.metaKey || !/^(Arrow|Home|End)/.test(e.key)) return;
    e.preventDefault();
    const to = nextKey(map.layout, key, /** @type {any} */ (e.key), lastBackend);
    if (!to) return;
    map.reveal(to, true);
    map.draw();
    map.focus(to, true);
  };
  document.addEventListener("keydown", (e) => {
    if (
      e.ctrlKey ||
      e.metaKey ||
      e.altKey ||
      e.defaultPrevented ||
      document.querySelector("dialog[open]") ||
      !$("session").hidden
    )
      return;
    const typing =
      e.target instanceof Element &&
      e.target.matches("input:not([type=checkbox], [type=range]), select, textarea");
    if (typing && e.key !== "Escape") return;
    const wanted = $("app").querySelector(`[aria-keyshortcuts~="${CSS.escape(e.key)}"]`);
    if (!wanted && e.key !== "Escape") return;
    e.preventDefault();
    act.hideTooltip();
    if (wanted === $("find")) wanted.select();
    else if (wanted) wanted.click();
    else if (!$("filters").hidden) {
      closeFilters();
      $("filter-button").focus();
    } else if (store.state.selection.key) act.select(null);
    else if (store.state.moment !== null) act.showNow();
  });
}
