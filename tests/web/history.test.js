import assert from "node:assert/strict";
import test from "node:test";
import { History, STEPS, STEP_MS } from "../../web/app/core/history.js";

const T = 1_000_000 * STEP_MS;
const be = (/** @type {any} */ status, latency = 5) => [{ id: "a", status, latency }];

test("a past moment shows what was true then", () => {
  const h = new History(T);
  h.record(be("healthy", 11), T);
  h.record(be("unhealthy", 0), T + STEP_MS);
  assert.deepEqual(h.at("a", h.step - 1), { status: "healthy", latency: 11 });
  assert.equal(h.at("a", h.step)?.status, "unhealthy");
});

test("nothing is claimed of moments at which nobody looked", () => {
  const h = new History(T);
  h.record(be("healthy"), T);
  h.record(be("healthy"), T + 10 * STEP_MS);
  assert.equal(h.at("a", h.step - 4), null);
  assert.equal(h.at("b", h.step), null);
  assert.equal(h.hasBackfill, false);
});

test("an hour is kept, and no more", () => {
  const h = new History(T);
  for (let i = 0; i < STEPS + 50; i += 1) h.record(be(i < 60 ? "unhealthy" : "healthy", i), T + i * STEP_MS);
  assert.equal(h.at("a", h.step - STEPS), null);
  assert.equal(h.at("a", h.step - STEPS + 1)?.status, "unhealthy");
  assert.equal(h.firstStep, h.step - STEPS + 1);
  assert.equal(h.tracks.get("a")?.statuses.length, STEPS);
  assert.equal(h.latencies("a", 120).length, 120);
});

test("the last twenty changes are kept, newest first", () => {
  const h = new History(T);
  for (let i = 0; i < 25; i += 1)
    h.addChange(
      { seq: i, backend: "a", from: "healthy", to: "unhealthy", reason: "refused", text: `n${i}` },
      T + i,
    );
  const list = h.changes.get("a") ?? [];
  assert.equal(list.length, 20);
  assert.equal(list[0].text, "n24");
});

test("what the service remembers fills the time before the page was opened, and never overwrites what was seen", () => {
  const h = new History(T);
  h.record(be("warming"), T);
  h.backfill(
    {
      step_s: 5,
      backends: { a: { states: ["unhealthy", "healthy", "healthy"], latency_ms: [null, 7, 8] } },
      incidents: [{ backend: "a", from: "unhealthy", to: "healthy", reason: "ok", text: "back", ago_s: 5 }],
    },
    T,
  );
  assert.equal(h.at("a", h.step)?.status, "warming");
  assert.equal(h.at("a", h.step - 1)?.latency, 7);
  assert.equal(h.at("a", h.step - 2)?.status, "unhealthy");
  assert.equal(h.firstStep, h.step - 2);
  assert.equal(h.changes.get("a")?.[0].text, "back");
});
