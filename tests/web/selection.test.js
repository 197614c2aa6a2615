import assert from "node:assert/strict";
import test from "node:test";
import { KEEP_MS, RemovedBackends } from "../../web/app/map/removed_backends.js";
import { fitCamera, revealRect, zoomCamera } from "../../web/app/map/camera.js";
import {
  highlightedKeys,
  noFilters,
  countPaths,
  searchMesh,
  visibleBackends,
} from "../../web/app/map/selection.js";
import { flightDuration, pointAt, measurePath } from "../../web/app/map/particles.js";
import { TrafficRates } from "../../web/app/map/traffic_rates.js";
import { view } from "./meshes.js";
import { statusLabel } from "../../web/app/map/status_styles.js";

const list = /** @type {any[]} */ ([
  view(),
  view({ id: "b", name: "studio-mac", ring: "lan", models: ["m2", "qwen3-32b"] }),
  view({ id: "c", enabled: false, models: ["m2"] }),
]);
const all = list.map((backend) => ({ backend, removed: false }));
const backends = new Map(visibleBackends(all, noFilters(), null).map((b) => [b.id, b]));
const servers = new Map([
  ["m1", ["a"]],
  ["m2", ["a", "b", "c"]],
  ["qwen3-32b", ["b"]],
]);

test("filters leave out what is unticked", () => {
  assert.deepEqual(
    visibleBackends(all, { rings: ["lan"], kinds: [], statuses: ["disabled"] }, null).map((b) => b.id),
    ["a"],
  );
});

test("a past moment shows who was there, as they were", () => {
  const got = visibleBackends(all, noFilters(), (id) =>
    id === "b" ? { status: "unhealthy", latency: null } : null,
  );
  assert.deepEqual(
    got.map((b) => [b.id, b.status]),
    [["b", "unhealthy"]],
  );
});

test("one that is healthy and can serve nothing is labelled as degraded, but for a past moment", () => {
  const idle = {
    ...list[0],
    health: { ...list[0].health, state: "healthy" },
    enabled: true,
    degraded: "Idle.",
  };
  const shown = (/** @type {any} */ backend, /** @type {any} */ past = null) =>
    visibleBackends([{ backend, removed: false }], noFilters(), past).map((b) => [
      b.degraded,
      statusLabel(b),
    ]);
  assert.deepEqual(shown(idle), [["Idle.", "degraded"]]);
  assert.deepEqual(shown({ ...idle, enabled: false }), [["", "disabled"]]);
  assert.deepEqual(
    shown(idle, () => ({ status: "healthy", latency: 5 })),
    [["", "healthy"]],
  );
});

test("a chosen backend lights its models; a chosen model lights every backend that serves it", () => {
  assert.deepEqual([...(highlightedKeys("b:a", backends, servers) ?? [])].sort(), [
    "b:a",
    "m:a\nm1",
    "m:a\nm2",
    "r",
    "u",
  ]);
  assert.equal(highlightedKeys("m:a\nm2", backends, servers)?.has("b:c"), true);
  assert.equal(highlightedKeys("r", backends, servers), null);
  assert.equal(countPaths("m:a\nm2", backends, servers), 3);
  assert.equal(countPaths("u", backends, servers), 5);
});

test("a search finds by name, address, kind, ring, state and model, all words together", () => {
  const find = (/** @type {string} */ q) => searchMesh(q, [...backends.values()], () => "http://10.0.0.9:1");
  assert.equal(find("  "), null);
  assert.deepEqual(
    [
      find("studio")?.backends,
      find("qwen3")?.models,
      find("10.0.0.9 lan")?.backends,
      find("DISABLED")?.backends,
      find("nope")?.keys.size,
    ],
    [1, 1, 1, 1, 0],
  );
});

test("a backend that went stays a minute at its place as a ghost", () => {
  const g = new RemovedBackends();
  const map = (/** @type {any[]} */ l) => new Map(l.map((b) => [b.id, b]));
  g.update(map(list), map([list[0], list[2]]), 0);
  assert.deepEqual(
    g.mergeInto([list[0], list[2]]).map((x) => [x.backend.id, x.removed]),
    [
      ["a", false],
      ["b", true],
      ["c", false],
    ],
  );
  assert.equal(g.expire(KEEP_MS - 1), false);
  assert.equal(g.expire(KEEP_MS), true);
});

test("zooming keeps the point under the pointer where it is", () => {
  const before = { x: 30, y: -20, k: 0.8 };
  const after = zoomCamera(before, 1.7, 400, 250, 0.1);
  assert.ok(Math.abs((400 - before.x) / before.k - (400 - after.x) / after.k) < 1e-9);
  assert.equal(fitCamera({ w: 500, h: 400, fit: 1 }, { w: 1000, h: 900 }).k, 1);
  assert.deepEqual(
    revealRect({ x: 0, y: 0, k: 1 }, { x: 900, y: 10, w: 100, h: 20 }, { w: 800, h: 600 }).x,
    -216,
  );
});

test("a particle walks its whole way, evenly, and slower to slower backends", () => {
  const w = measurePath([0, 0, 10, 0, 10, 30]);
  assert.deepEqual(pointAt(w, 0), [0, 0]);
  assert.deepEqual(pointAt(w, 0.25), [10, 0]);
  assert.deepEqual(pointAt(w, 1), [10, 30]);
  assert.ok(flightDuration(800) > flightDuration(10));
});

test("an edge glows while a request is on it and shortly after, and a rate counts five seconds", () => {
  const r = new TrafficRates();
  r.record("k", 10, 1000);
  assert.equal(r.rate("k", 2000), 2);
  assert.equal(r.activeRoutes(new Map(), 2000).has("k"), true);
  assert.equal(r.activeRoutes(new Map(), 3000).has("k"), false);
  assert.equal(r.activeRoutes(new Map([["k", 1]]), 9000).has("k"), true);
  assert.equal(r.rate("k", 9000), 0);
});
