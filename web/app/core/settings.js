/** What the page remembers, and what its address says. */

const STORAGE_KEY = "meshlight";

/** @param {string} [view] as the address says @returns {Settings} */
export function loadSettings(view) {
  /** @type {any} */
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
  } catch {
    // No storage here: the defaults do.
  }
  return {
    theme: ["dark", "light", "contrast"].includes(stored.theme) ? stored.theme : "system",
    // In a narrow window it covers the map.
    legend: stored.legend ?? innerWidth > 880,
    view: (view ?? stored.view) === "table" ? "table" : "map",
  };
}

/** @param {Settings} settings */
export function saveSettings(settings) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(settings));
  } catch {
    // No storage here: it lasts as long as the page.
  }
}

/** @param {Settings["theme"]} theme @returns {Theme} */
export function resolveTheme(theme) {
  const [light, contrast, forced] = MEDIA_QUERIES.map((query) => matchMedia(query).matches);
  if (forced) return "forced";
  if (theme !== "system") return theme;
  return contrast ? "contrast" : light ? "light" : "dark";
}

/** @returns {Record<string, string>} */
export function readHash() {
  try {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  } catch {
    return {};
  }
}

/** What a deep link left in the address, taken out of it. @returns {DeepLink|null} */
export function takeDeepLink() {
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

export const MEDIA_QUERIES = [
  "(prefers-color-scheme: light)",
  "(prefers-contrast: more)",
  "(forced-colors: active)",
  "(prefers-reduced-motion: reduce)",
];
