/** What is shown, found and highlighted. Pure. */
import { kindLabel } from "../core/kinds.js";
import { statusOf, RING_LABELS, STATUS_ORDER } from "./status_styles.js";
import { FOLD_KEY, LOCAL_ID } from "../core/local_models.js";
import { routeKey } from "../core/mesh.js";
import { displayName, hostOf } from "../core/format.js";

/** @returns {Filters} */
export const noFilters = () => ({ rings: [], kinds: [], statuses: [] });

/** @returns {Filters} */
export const onlyUnhealthy = () => ({
  rings: [],
  kinds: [],
  statuses: STATUS_ORDER.filter((status) => status !== "unhealthy"),
});

/** @param {Filters} filters */
export const encodeFilters = ({ rings, kinds, statuses }) =>
  isFiltering({ rings, kinds, statuses }) ? [rings, kinds, statuses].map((l) => l.join(".")).join("~") : null;

/** @param {string} [text] @returns {Filters} */
export function decodeFilters(text = "") {
  const [rings, kinds = [], statuses = []] = text.split("~").map((l) => l.split(".").filter(Boolean));
  return { rings, kinds, statuses };
}

/** @param {Filters} filters */
export const isFiltering = ({ rings, kinds, statuses }) => rings.length + kinds.length + statuses.length > 0;

/** @param {{backend:BackendView, removed:boolean}[]} all @param {Filters} filters @param {((id:string)=>{status:Status, latency:number|null}|null)|null} past */
export function visibleBackends(all, filters, past) {
  const out = [];
  for (const { backend, removed } of all) {
    const past_ = past?.(backend.id);
    if (past && !past_) continue;
    const status = past_?.status ?? statusOf(backend);
    if (
      filters.rings.includes(backend.ring) ||
      filters.kinds.includes(backend.kind) ||
      filters.statuses.includes(status)
    )
      continue;
    out.push({
      id: backend.id,
      name: displayName(backend.name),
      kind: backend.kind,
      ring: backend.ring,
      status,
      latency: past_ ? past_.latency : backend.latency_ms,
      models: backend.models,
      removed: removed && !past,
      reason: past ? "" : backend.health.reason,
      text: backend.health.text,
      degraded: status === "healthy" && !past ? backend.degraded : "",
    });
  }
  return out;
}

/** @param {string|null} key @param {Map<string, ShownBackend>} backends @param {Map<string, string[]>} servers */
export function highlightedKeys(key, backends, servers) {
  if (!key || key === "u" || key === "r") return null;
  const keys = new Set([key, `b:${backendOf(key)}`, "u", "r"]);
  if (key.startsWith("b:")) {
    const backend = backends.get(key.slice(2));
    for (const model of backend?.models ?? []) keys.add(routeKey(key.slice(2), model));
    if (key.slice(2) === LOCAL_ID) keys.add(FOLD_KEY);
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

/** How many routes lead there that are used. @param {string} key @param {Map<string, ShownBackend>} backends @param {Map<string, string[]>} servers */
export function countPaths(key, backends, servers) {
  const id = key.slice(2);
  if (key.startsWith("b:"))
    return backends.get(id)?.models.filter((model) => servers.get(model)?.includes(id)).length ?? 0;
  if (key.startsWith("m:")) return servers.get(modelOf(key))?.length ?? 0;
  let sum = 0;
  for (const ids of servers.values()) sum += ids.length;
  return sum;
}

/** Which nodes hold every word; null without one. @param {string} query @param {ShownBackend[]} list @param {(id:string)=>string} urlOf */
export function searchMesh(query, list, urlOf) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return null;
  const matchesAll = (/** @type {string} */ text) => words.every((word) => text.includes(word));
  const keys = new Set();
  const models = new Set();
  let backends = 0;
  for (const b of list) {
    if (
      matchesAll(
        `${b.name} ${b.kind} ${kindLabel(b.kind)} ${hostOf(urlOf(b.id))} ${RING_LABELS[b.ring]} ${b.ring} ${b.status}`.toLowerCase(),
      )
    ) {
      keys.add(`b:${b.id}`);
      backends += 1;
    }
    for (const model of b.models) {
      if (!matchesAll(model.toLowerCase())) continue;
      keys.add(routeKey(b.id, model));
      models.add(model);
    }
  }
  return { keys, backends, models: models.size };
}
