/**
 * A snapshot and each event give the next state; nothing is changed in place. Words that
 * this page does not know are replaced here: no other module has to ask.
 */
import { RING_ORDER, STATUS_ORDER } from "../map/status_styles.js";

/** @param {string} backend @param {string} model */
export const routeKey = (backend, model) => `m:${backend}\n${model}`;

/** @type {RequestStats} */
const NO_STATS = {
  total: 0,
  successful: 0,
  failed: 0,
  in_flight: 0,
  first_byte_ms: null,
  tokens_in: 0,
  tokens_out: 0,
};
/** @type {Omit<ModelView, "id"|"backends">} */
const NO_MODEL = { requests: null, queue: null };
/** As many as the service remembers. */
const DECISIONS_KEPT = 10;

/** With when it came, for its ages go on. @template T @param {T} sent @returns {T & {at:number}} */
const dated = (sent) => /** @type {any} */ (sent ? { ...sent, at: Date.now() } : null);

/** A ring that this page does not know counts as the furthest, and a state as unknown. @param {any} sent @returns {BackendView} */
export const normalBackend = (sent) => ({
  ...sent,
  name: sent.name || sent.id,
  ring: RING_ORDER.includes(sent.ring) ? sent.ring : "cloud",
  health: STATUS_ORDER.includes(sent.health.state) ? sent.health : { ...sent.health, state: "unknown" },
});

/** By model, the ids of the backends that offer it and are not used for it; the map of before where nothing changed. @param {Record<string, string[]>} [sent] @param {Mesh["offered"]} [before] @returns {Mesh["offered"]} */
function offeredMap(sent = {}, before = new Map()) {
  const now = new Map(Object.entries(sent ?? {}));
  const isSame =
    now.size === before.size &&
    [...now].every(([model, ids]) => before.get(model)?.join("\n") === ids.join("\n"));
  return isSame ? before : now;
}

/** @param {any} view a snapshot as it was sent @param {Mesh|null} [before] what was shown until now; keeps the refresh progress @returns {Mesh} */
export function fromSnapshot(view, before = null) {
  return {
    seq: view.seq,
    router: view.router,
    light: view.light,
    light_reason: view.light_reason,
    notices: view.notices,
    offered: offeredMap(view.offered, before?.offered),
    backends: new Map(view.backends.map((/** @type {any} */ b) => [b.id, normalBackend(b)])),
    models: new Map(
      view.models.map((/** @type {any} */ m) => [m.id, { ...NO_MODEL, ...m, queue: dated(m.queue) }]),
    ),
    inFlightByRoute: new Map(),
    decisions: (view.decisions ?? []).map(dated),
    refresh: before?.refresh ?? null,
    topology: (before?.topology ?? 0) + 1,
  };
}

/** An event that is not newer changes nothing. @param {Mesh} mesh @param {string} name @param {any} event @returns {Mesh} */
export function applyEvent(mesh, name, event) {
  if (name === "snapshot") return fromSnapshot(event, mesh);
  if (event.seq <= mesh.seq) return mesh;
  const next = { ...mesh, seq: event.seq };
  if (name === "health") return withLight(withHealth(next, event.backends ?? []), event);
  if (name === "topology") return withLight(withTopology(next, event), event);
  if (name === "traffic")
    return withQueues(withTraffic(next, event.routes ?? [], event.router ?? mesh.router.requests), event);
  if (name === "refresh") return { ...next, refresh: { id: event.id, done: event.done, total: event.total } };
  return next;
}

/** @param {Mesh} mesh @param {HealthChange[]} changes */
function withHealth(mesh, changes) {
  const backends = new Map(mesh.backends);
  let switched = false;
  for (const change of changes) {
    const old = backends.get(change.id);
    if (!old) continue;
    const now = normalBackend({ ...old, ...change });
    switched ||= old.enabled !== now.enabled;
    backends.set(change.id, now);
  }
  return { ...mesh, backends, models: switched ? indexModels(backends, mesh.models) : mesh.models };
}

/** @param {Mesh} mesh @param {any} event @returns {Mesh} */
function withTopology(mesh, { backends: changed = [], removed = [], offered }) {
  const backends = new Map(mesh.backends);
  for (const id of removed) backends.delete(id);
  for (const backend of changed) backends.set(backend.id, normalBackend(backend));
  return {
    ...mesh,
    backends,
    models: indexModels(backends, mesh.models),
    offered: offeredMap(offered, mesh.offered),
    topology: mesh.topology + 1,
  };
}

/** @param {Mesh} mesh @param {RouteTraffic[]} routes @param {Requests} requests */
function withTraffic(mesh, routes, requests) {
  const backends = new Map(mesh.backends);
  const models = new Map(mesh.models);
  const inFlightByRoute = new Map(mesh.inFlightByRoute);
  for (const route of routes) {
    const key = routeKey(route.backend, route.model);
    // Some are given up: neither ok nor failed.
    const newInFlight =
      route.in_flight -
      (inFlightByRoute.get(key) ?? Math.max(0, route.in_flight - route.started + route.ok + route.failed));
    inFlightByRoute.set(key, route.in_flight);
    const backend = backends.get(route.backend);
    if (backend) {
      const stats = addTraffic(backend.requests, route, newInFlight);
      backends.set(route.backend, { ...backend, in_flight: stats.in_flight, requests: stats });
    }
    const model = models.get(route.model);
    if (model)
      models.set(route.model, { ...model, requests: addTraffic(model.requests, route, newInFlight) });
  }
  return { ...mesh, backends, models, inFlightByRoute, router: { ...mesh.router, requests } };
}

/** Who waits now, and where requests went. @param {Mesh} mesh @param {any} event */
function withQueues(mesh, { waiting = {}, queues = {}, decisions = [] }) {
  for (const id in waiting) {
    const model = mesh.models.get(id);
    if (model) mesh.models.set(id, { ...model, queue: dated(queues[id]) });
  }
  if (decisions.length) mesh.decisions = [...mesh.decisions, ...decisions.map(dated)].slice(-DECISIONS_KEPT);
  return mesh;
}

/** @param {RequestStats|null} stats @param {RouteTraffic} route @param {number} newInFlight in flight @returns {RequestStats} */
function addTraffic(stats, route, newInFlight) {
  const old = stats ?? NO_STATS;
  return {
    ...old,
    total: old.total + route.started,
    successful: old.successful + route.ok,
    failed: old.failed + route.failed,
    in_flight: Math.max(0, old.in_flight + newInFlight),
  };
}

/** By the service's rule. @param {Map<string, BackendView>} backends @param {Map<string, ModelView>} before */
function indexModels(backends, before) {
  /** @type {Map<string, ModelView>} */
  const models = new Map();
  for (const backend of backends.values()) {
    if (!backend.enabled) continue;
    for (const id of backend.models) {
      const known = models.get(id);
      if (known) known.backends.push(backend.id);
      else models.set(id, { ...NO_MODEL, ...before.get(id), id, backends: [backend.id] });
    }
  }
  return models;
}

/** As the event says. @param {Mesh} mesh @param {any} event @returns {Mesh} */
const withLight = (mesh, { light = mesh.light, light_reason = mesh.light_reason }) => ({
  ...mesh,
  light,
  light_reason,
});
