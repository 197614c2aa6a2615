/** What is remembered, and putting it on the page. */
import { $ } from "../chrome/dom.js";
import { drawLegend } from "../map/legend.js";

const NAME = "meshlight";

/** @returns {Settings} */
export function recall() {
  /** @type {any} */
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(NAME) ?? "{}");
  } catch {
    // No storage here: the defaults do.
  }
  const { theme } = kept;
  return {
    theme: theme === "dark" || theme === "light" || theme === "contrast" ? theme : "system",
    legend: kept.legend ?? true,
    view: (readHash().view ?? kept.view) === "table" ? "table" : "map",
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

/** @param {Settings["theme"]} theme @returns {Theme} */
export function paletteName(theme) {
  const is = (/** @type {string} */ query) => matchMedia(query).matches;
  if (is("(forced-colors: active)")) return "forced";
  if (theme !== "system") return theme;
  if (is("(prefers-contrast: more)")) return "contrast";
  return is("(prefers-color-scheme: light)") ? "light" : "dark";
}

/** @returns {Record<string, string>} */
export function readHash() {
  try {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  } catch {
    return {};
  }
}

/** What a deep link left in the address, taken out of it. @returns {Link|null} */
export function takeLink() {
  const text = /^#(?:add|pair)\?(.*)/.exec(location.hash)?.[1];
  if (text === undefined) return null;
  const { kind, url, name, access_key, host, port, id } = Object.fromEntries(new URLSearchParams(text));
  history.replaceState(null, "", location.pathname + location.search);
  return { kind, url, name, access_key, host, port, id };
}

/** Null takes a name out. @param {Record<string, string|null>} changes */
export function writeHash(changes) {
  const params = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") params.delete(name);
    else params.set(name, value);
  }
  const hash = params.toString();
  if (hash === location.hash.slice(1)) return;
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

export const WISHES = [
  "(prefers-color-scheme: light)",
  "(prefers-contrast: more)",
  "(forced-colors: active)",
  "(prefers-reduced-motion: reduce)",
];

/** @param {App} app */
export function dress(app) {
  const { settings, stage } = app;
  app.theme = paletteName(settings.theme);
  document.documentElement.dataset.theme = app.theme;
  const table = settings.view === "table";
  $("stage").hidden = table;
  $("table").hidden = !table;
  writeHash({ view: table ? "table" : null });
  stage.still = matchMedia(WISHES[3]).matches;
  if (stage.still || table) stage.particles.clear();
  stage.paint(app.theme);
  drawLegend(app.theme, settings.legend, () => app.set({ legend: !settings.legend }));
  if (!table) app.measure();
}
