import assert from "node:assert/strict";
import test from "node:test";
import { applyEvent, fromSnapshot } from "../../web/app/core/mesh.js";
import { snapshot, toSnapshot, view } from "./meshes.js";

const DOWN = {
  state: "unhealthy",
  reason: "refused",
  text: "Connection refused.",
  fix: "Start it.",
  since_s: 0,
};
const one = view();
const two = view({ id: "b", name: "b", models: ["m2", "m3"] });
const before = snapshot([one, two]);

test("a snapshot goes in and comes out the same", () => {
  assert.deepEqual(toSnapshot(fromSnapshot(/** @type {any} */ (before))), before);
});

test("a health event makes of the old snapshot the next one, its light included", () => {
  const got = applyEvent(fromSnapshot(/** @type {any} */ (before)), "health", {
    seq: 2,
    backends: [{ id: "b", enabled: true, health: DOWN, latency_ms: null }],
    light: "amber",
    light_reason: "1 of 2 down: b: Connection refused.",
  });
  const want = snapshot([one, { ...two, health: DOWN, latency_ms: null }], {
    seq: 2,
    light: "amber",
    light_reason: "1 of 2 down: b: Connection refused.",
  });
  assert.deepEqual(toSnapshot(got), want);
});

test("a backend that is switched off takes its models out of the list", () => {
  const got = applyEvent(fromSnapshot(/** @type {any} */ (before)), "health", {
    seq: 2,
    backends: [{ id: "b", enabled: false, health: two.health, latency_ms: 5 }],
    light_reason: "The backend is healthy.",
  });
  assert.deepEqual(
    toSnapshot(got),
    snapshot([one, { ...two, enabled: false }], { seq: 2, light_reason: "The backend is healthy." }),
  );
});

test("a topology event adds, changes and removes whole backends", () => {
  const three = view({ id: "c", name: "c", models: ["m1", "m9"] });
  const got = applyEvent(fromSnapshot(/** @type {any} */ (before)), "topology", {
    seq: 2,
    backends: [three, { ...one, name: "renamed" }],
    removed: ["b"],
  });
  assert.deepEqual(toSnapshot(got), snapshot([{ ...one, name: "renamed" }, three], { seq: 2 }));
});

test("traffic counts on the backend, the model and the router", () => {
  const requests = { total: 3, successful: 1, failed: 1, in_flight: 1 };
  const got = toSnapshot(
    applyEvent(fromSnapshot(/** @type {any} */ (before)), "traffic", {
      seq: 2,
      routes: [{ backend: "a", model: "m1", started: 3, ok: 1, failed: 1, in_flight: 1 }],
      router: requests,
    }),
  );
  assert.deepEqual(got.router.requests, requests);
  assert.equal(got.backends[0].in_flight, 1);
  assert.deepEqual(
    [got.backends[0].requests.total, got.backends[0].requests.successful, got.backends[0].requests.failed],
    [3, 1, 1],
  );
  assert.equal(got.models.find((m) => m.id === "m1")?.requests?.total, 3);
  assert.equal(got.models.find((m) => m.id === "m3")?.requests, null);
});

test("a request that its client gave up is no longer in flight", () => {
  const route = { backend: "a", model: "m1", started: 0, ok: 0, failed: 0 };
  let mesh = fromSnapshot(/** @type {any} */ (before));
  for (const [seq, started, in_flight] of [
    [2, 2, 2],
    [3, 0, 0],
    [4, 1, 0],
    [5, 1, 1],
  ]) {
    mesh = applyEvent(mesh, "traffic", {
      seq,
      routes: [{ ...route, started, in_flight }],
      router: mesh.router.requests,
    });
    assert.equal(mesh.backends.get("a")?.in_flight, in_flight);
  }
});

test("who waits is told until nobody does; the last ten decisions are kept", () => {
  const at = (/** @type {number} */ seq, /** @type {any} */ event) =>
    (mesh = applyEvent(mesh, "traffic", { seq, routes: [], router: mesh.router.requests, ...event }));
  let mesh = fromSnapshot(/** @type {any} */ ({ ...before, decisions: [{ model: "m1", age_s: 4 }] }));
  const queue = { waiting: 3, longest_s: 2, expected_s: null, callers: [{ name: "aider", waiting: 3 }] };
  at(2, { waiting: { m1: 3 }, queues: { m1: queue } });
  assert.ok(mesh.models.get("m1")?.queue?.at);
  assert.equal(mesh.models.get("m1")?.queue?.waiting, 3);
  const three = view({ id: "c", name: "c", models: ["m9"] });
  mesh = applyEvent(mesh, "topology", { seq: 3, backends: [three] });
  assert.equal(mesh.models.get("m1")?.queue?.waiting, 3);
  at(4, { waiting: { m1: 0, gone: 2 }, decisions: Array(12).fill({ model: "m2", age_s: 0 }) });
  assert.equal(mesh.models.get("m1")?.queue, null);
  assert.equal(mesh.models.has("gone"), false);
  assert.deepEqual([mesh.decisions.length, mesh.decisions[0].model], [10, "m2"]);
});

test("an event that is already in the state changes nothing", () => {
  const state = fromSnapshot(/** @type {any} */ ({ ...before, seq: 7 }));
  assert.equal(applyEvent(state, "topology", { seq: 7, backends: [], removed: ["a"] }), state);
});

test("the old state stays as it was", () => {
  const state = fromSnapshot(/** @type {any} */ (before));
  applyEvent(state, "topology", { seq: 2, backends: [], removed: ["a", "b"] });
  assert.deepEqual(toSnapshot(state), before);
});

test("an event that lacks a field changes only what it names", () => {
  const state = fromSnapshot(/** @type {any} */ (before));
  const got = applyEvent(state, "health", { seq: 2, backends: [{ id: "a", latency_ms: 9 }] });
  assert.deepEqual(got.backends.get("a"), { ...one, latency_ms: 9 });
  assert.equal(got.backends.get("a")?.health, state.backends.get("a")?.health);
  for (const name of ["health", "topology", "traffic", "refresh", "incident", "something-new"])
    assert.equal(applyEvent(state, name, { seq: 2 }).backends.size, 2, name);
});

test("words of a newer service that this page does not know are shown as the careful one", () => {
  const odd = view({ ring: "moon", health: { ...one.health, state: "hibernating" } });
  const backend = fromSnapshot(/** @type {any} */ (snapshot([odd]))).backends.get("a");
  assert.deepEqual([backend?.ring, backend?.health.state], ["cloud", "unknown"]);
});

test("the light that an event brings is the light", () => {
  const state = fromSnapshot(/** @type {any} */ (before));
  const got = applyEvent(state, "health", { seq: 2, backends: [], light: "red", light_reason: "All down." });
  assert.deepEqual([got.light, got.light_reason], ["red", "All down."]);
});

test("what is offered and not used comes with each topology event as a whole, and is nothing where it is missing", () => {
  const offered = { m2: ["b"], ["__proto__"]: ["a"] };
  const state = fromSnapshot(/** @type {any} */ (snapshot([one, two], { offered })));
  assert.deepEqual(toSnapshot(state).offered, offered);
  const same = applyEvent(state, "topology", { seq: 2, backends: [], offered: { ...offered } });
  assert.equal(same.offered, state.offered);
  const next = applyEvent(same, "topology", { seq: 3, offered: { m1: ["a", "b"] } });
  assert.deepEqual(toSnapshot(next).offered, { m1: ["a", "b"] });
  assert.equal(applyEvent(next, "health", { seq: 4, backends: [] }).offered, next.offered);
  assert.deepEqual(toSnapshot(applyEvent(next, "topology", { seq: 4 })).offered, {});
  const { offered: _, ...older } = snapshot([one]);
  assert.equal(fromSnapshot(/** @type {any} */ (older)).offered.size, 0);
});

test("a light that comes with a topology event counts too, and without one the last one stays", () => {
  const state = fromSnapshot(/** @type {any} */ (before));
  const paused = { light: "grey", light_reason: "Routing is paused." };
  const got = applyEvent(state, "topology", { seq: 2, removed: ["b"], ...paused });
  assert.deepEqual([got.light, got.light_reason], ["grey", "Routing is paused."]);
  const own = applyEvent(state, "topology", { seq: 2, removed: ["b"] });
  assert.deepEqual([own.light, own.light_reason], [before.light, before.light_reason]);
});
