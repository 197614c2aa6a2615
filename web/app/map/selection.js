/** What is shown and lit. Pure. */
import { kindLabel } from "../core/kinds.js";
import { lookOf, RINGS } from "./status_styles.js";
import { routeKey } from "../core/store.js";
import { clean, host } from "../core/format.js";

/** @returns {Filters} */
export const noFilters = () => ({ rings: [], kinds: [], looks: [] });

/** @param {{backend:BackendView, gone:boolean}[]} all @param {Filters} filters @param {((id:string)=>{look:Look, latency:number|null}|null)|null} past */
export function shown(all, filters, past) {
  const out = [];
  for (const { backend, gone } of all) {
    const then = past?.(backend.id);
    if (past && !then) continue;
    const look = then?.look ?? lookOf(backend);
    if (
      filters.rings.includes(backend.ring) ||
      filters.kinds.includes(backend.kind) ||
      filters.looks.includes(look)
    )
      continue;
    out.push({
      id: backend.id,
      name: clean(backend.name),
      kind: backend.kind,
      ring: backend.ring,
      look,
      latency: then ? then.latency : backend.latency_ms,
      models: backend.models,
      busy: past ? 0 : backend.in_flight,
      gone: gone && !past,
      reason: past ? "" : backend.health.reason,
      text: backend.health.text,
    });
  }
  return out;
}

/** @param {string|null} key @param {Map<string, Shown>} backends @param {Map<string, string[]>} servers */
export function lit(key, backends, servers) {
  if (!key || key === "u" || key === "r") return null;
  const keys = new Set([key, "u", "r"]);
  if (key.startsWith("b:")) {
    const backend = backends.get(key.slice(2));
    for (const model of backend?.models ?? []) keys.add(routeKey(key.slice(2), model));
    return keys;
  }
  const model = modelOf(key);
  for (const id of servers.get(model) ?? []) keys.add(routeKey(id, model)).add(`b:${id}`);
  return keys;
}

/** @param {string} key */
export const modelOf = (key) => key.slice(key.indexOf("\n") + 1);
/** @param {string} key */
export const backendOf = (key) => (key.startsWith("m:") ? key.slice(2, key.indexOf("\n")) : key.slice(2));

/** @param {string} key @param {Map<string, Shown>} backends @param {Map<string, string[]>} servers */
export function paths(key, backends, servers) {
  if (key.startsWith("b:")) return backends.get(key.slice(2))?.models.length ?? 0;
  if (key.startsWith("m:")) return servers.get(modelOf(key))?.length ?? 0;
  let sum = 0;
  for (const backend of backends.values()) sum += backend.models.length;
  return sum;
}

/** Which nodes hold every word; null without one. @param {string} query @param {Shown[]} list @param {(id:string)=>string} urlOf */
export function search(query, list, urlOf) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return null;
  const has = (/** @type {string} */ text) => words.every((word) => text.includes(word));
  const keys = new Set();
  const models = new Set();
  let backends = 0;
  for (const b of list) {
    if (
      has(
        `${b.name} ${b.kind} ${kindLabel(b.kind)} ${host(urlOf(b.id))} ${RINGS[b.ring]} ${b.ring} ${b.look}`.toLowerCase(),
      )
    ) {
      keys.add(`b:${b.id}`);
      backends += 1;
    }
    for (const model of b.models) {
      if (!has(model.toLowerCase())) continue;
      keys.add(routeKey(b.id, model));
      models.add(model);
    }
  }
  return { keys, backends, models: models.size };
}
