/** A snapshot and each event give the next state; nothing is changed in place. */

/** @param {string} backend @param {string} model */
export const routeKey = (backend, model) => `m:${backend}\n${model}`;

/** @param {Snapshot} view @param {Mesh|null} [before] what was shown until now; keeps the refresh progress @returns {Mesh} */
export function fromSnapshot(view, before = null) {
  return {
    seq: view.seq,
    router: view.router,
    light: view.light,
    light_reason: view.light_reason,
    notices: view.notices ?? [],
    backends: new Map(view.backends.map((b) => [b.id, b])),
    models: new Map(view.models.map((m) => [m.id, m])),
    busy: new Map(),
    refresh: before?.refresh ?? null,
    topology: (before?.topology ?? 0) + 1,
  };
}

/** An event that is not newer changes nothing. @param {Mesh} mesh @param {string} name @param {any} event @returns {Mesh} */
export function apply(mesh, name, event) {
  if (name === "snapshot") return fromSnapshot(event, mesh);
  if (event.seq <= mesh.seq) return mesh;
  const next = { ...mesh, seq: event.seq };
  if (name === "health") return withHealth(next, event.backends);
  if (name === "topology") return withTopology(next, event.backends, event.removed ?? []);
  if (name === "traffic") return withTraffic(next, event.routes, event.router);
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
    switched ||= old.enabled !== change.enabled;
    backends.set(change.id, { ...old, ...change });
  }
  return lit({ ...mesh, backends, models: switched ? indexModels(backends, mesh.models) : mesh.models });
}

/** @param {Mesh} mesh @param {BackendView[]} came @param {string[]} removed */
function withTopology(mesh, came, removed) {
  const backends = new Map(mesh.backends);
  for (const id of removed) backends.delete(id);
  for (const backend of came) backends.set(backend.id, backend);
  return lit({ ...mesh, backends, models: indexModels(backends, mesh.models), topology: mesh.topology + 1 });
}

/** @param {Mesh} mesh @param {RouteTraffic[]} routes @param {Requests} requests */
function withTraffic(mesh, routes, requests) {
  const backends = new Map(mesh.backends);
  const models = new Map(mesh.models);
  const busy = new Map(mesh.busy);
  for (const route of routes) {
    const key = routeKey(route.backend, route.model);
    // Some are given up: neither ok nor failed.
    const more = route.in_flight - (busy.get(key) ?? Math.max(0, route.in_flight - route.started + route.ok + route.failed));
    busy.set(key, route.in_flight);
    const backend = backends.get(route.backend);
    if (backend) {
      const work = counted(backend.requests, route, more);
      backends.set(route.backend, { ...backend, in_flight: work.in_flight, requests: work });
    }
    const model = models.get(route.model);
    if (model) models.set(route.model, { ...model, requests: counted(model.requests, route, more) });
  }
  return { ...mesh, backends, models, busy, router: { ...mesh.router, requests } };
}

/** @param {Work|null} work @param {RouteTraffic} route @param {number} more in flight @returns {Work} */
function counted(work, route, more) {
  const old = work ?? { total: 0, successful: 0, failed: 0, in_flight: 0, first_byte_ms: null, tokens_in: 0, tokens_out: 0 };
  return {
    ...old,
    total: old.total + route.started,
    successful: old.successful + route.ok,
    failed: old.failed + route.failed,
    in_flight: Math.max(0, old.in_flight + more),
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
      else models.set(id, { id, backends: [backend.id], requests: before.get(id)?.requests ?? null });
    }
  }
  return models;
}

/** By the service's rule. @param {Mesh} mesh @returns {Mesh} */
function lit(mesh) {
  const all = [...mesh.backends.values()];
  const enabled = all.filter((b) => b.enabled);
  const down = enabled.filter((b) => b.health.state === "unhealthy");
  const warming = enabled.filter((b) => b.health.state === "warming");
  const say = (/** @type {string} */ light, /** @type {string} */ reason) => ({ ...mesh, light, light_reason: reason });
  if (!enabled.length) return say("grey", all.length ? "No backend is enabled." : "No backend found yet.");
  if (down.length) {
    const text = `${down.length} of ${enabled.length} down: ${down[0].name}: ${down[0].health.text}`;
    return say(down.length === enabled.length ? "red" : "amber", text);
  }
  if (warming.length) return say("amber", `${warming.length} of ${enabled.length} warming up: ${warming[0].name}`);
  const degraded = enabled.filter((b) => b.health.state === "healthy" && b.degraded);
  if (degraded.length) return say("amber", `${degraded.length} of ${enabled.length} can serve nothing: ${degraded[0].name}: ${degraded[0].degraded}`);
  if (enabled.every((b) => b.health.state === "healthy")) {
    return say("green", enabled.length === 1 ? "The backend is healthy." : `All ${enabled.length} backends are healthy.`);
  }
  return say("grey", "Checking the backends.");
}
