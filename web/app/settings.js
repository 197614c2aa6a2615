/** What is remembered: in localStorage, or in the URL's hash where there is none (private windows). */
import { readHash, writeHash } from "./hash.js";

const NAME = "meshlight";

/** @returns {Settings} */
export function recall() {
  const hash = readHash();
  /** @type {any} */
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(NAME) ?? "{}");
  } catch {
    // No storage here: the defaults do.
  }
  const theme = hash.theme ?? kept.theme;
  return {
    theme: theme === "dark" || theme === "light" || theme === "contrast" ? theme : "system",
    legend: kept.legend ?? hash.legend !== "off",
    view: (hash.view ?? kept.view) === "table" ? "table" : "map",
  };
}

/** @param {Settings} settings */
export function remember(settings) {
  try {
    localStorage.setItem(NAME, JSON.stringify(settings));
  } catch {
    // No storage here: it lasts as long as the page.
  }
}

/** @param {Settings["theme"]} theme @returns {"dark"|"light"|"contrast"|"forced"} */
export function paletteName(theme) {
  const is = (/** @type {string} */ query) => matchMedia(query).matches;
  if (is("(forced-colors: active)")) return "forced";
  if (theme !== "system") return theme;
  if (is("(prefers-contrast: more)")) return "contrast";
  return is("(prefers-color-scheme: light)") ? "light" : "dark";
}
