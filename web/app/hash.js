/** The page's state in the URL's hash, to bookmark and send: `#sel=b:studio&q=qwen`. */

/** @returns {Record<string, string>} */
export function readHash() {
  try {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  } catch {
    return {};
  }
}

/** Change some of it; null takes a name out. @param {Record<string, string|null>} changes */
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
