/** The keyboard. Which key presses which button is said in index.html. */
import { $, keyOf } from "./dom.js";
import { closeFilters } from "./header.js";
import { walk } from "../map/keyboard_nav.js";

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
    app.tooltip.show(null);
    if (wanted === $("find")) wanted.select();
    else if (wanted) wanted.click();
    else if (!$("filters").hidden) {
      closeFilters();
      $("filter").focus();
    } else if (app.selected) app.select(null);
    else if (app.past !== null) app.travel(null);
  });
}
