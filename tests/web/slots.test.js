import assert from "node:assert/strict";
import test from "node:test";
import { fromSnapshot } from "../../web/app/core/mesh.js";
import { doorsOf, queueDetails, queueText, slotsOf } from "../../web/app/core/slots.js";
import { snapshot, view } from "./meshes.js";

/** @param {any} over */
const slots = (over) => slotsOf(/** @type {any} */ (view(over)));

test("a backend that tells its slots has a pip for each, up to eight; then numbers", () => {
  assert.deepEqual(slots({ in_flight: 2 }), { pips: "", text: "" });
  assert.deepEqual(slots({ slots: 4, in_flight: 2 }), { pips: "●●○○", text: "2 of 4 slots busy" });
  assert.deepEqual(slots({ slots: 1, in_flight: 0 }), { pips: "○", text: "0 of 1 slot busy" });
  assert.equal(slots({ slots: 32, in_flight: 12 }).pips, "12/32");
  assert.equal(slots({ slots: 4, in_flight: 5 }).pips, "5/4");
  assert.equal(slots({ details: { m1: { slots: 2 }, m2: {} }, in_flight: 1 }).pips, "●○");
  assert.deepEqual(slotsOf(undefined), { pips: "", text: "" });
});

/** @param {any} queue */
const waiting = (queue) => /** @type {any} */ ({ id: "m1", backends: [], requests: null, queue });

test("who waits is said in words, and nothing is said while nobody does", () => {
  const callers = [
    { name: "aider", waiting: 2 },
    { name: "evil\u202ename", waiting: 1 },
  ];
  const queue = { waiting: 3, longest_s: 12, expected_s: 20, callers, at: Date.now() };
  assert.equal(queueText(waiting(queue)), "3 waiting, ~20 s");
  assert.equal(queueText(waiting({ ...queue, expected_s: null })), "3 waiting");
  assert.equal(queueDetails(waiting(queue)), "3 waiting, ~20 s · longest 12 s · aider 2, evilname 1");
  for (const none of [waiting(null), undefined])
    assert.deepEqual([queueText(none), queueDetails(none)], ["", ""]);
});

test("a model's queue stands at one door: that of the first shown backend that tells its slots", () => {
  const both = [view(), view({ id: "b", name: "b", slots: 2 })];
  const mesh = fromSnapshot(/** @type {any} */ (snapshot(both)));
  const shown = new Map([
    ["a", 1],
    ["b", 1],
  ]);
  assert.equal(doorsOf(mesh, shown).size, 0);
  for (const model of mesh.models.values())
    if (model.id === "m1") model.queue = /** @type {any} */ ({ waiting: 1 });
  assert.deepEqual([...doorsOf(mesh, shown).keys()], ["m:b\nm1"]);
  shown.delete("b");
  assert.deepEqual([...doorsOf(mesh, shown).keys()], ["m:a\nm1"]);
});
