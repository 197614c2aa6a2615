import assert from "node:assert/strict";
import test from "node:test";
import { Store } from "../../web/app/core/store.js";

test("a listener is called only when what it selected became another value", () => {
  const store = new Store({ a: 1, b: 1 });
  /** @type {number[][]} */
  const calls = [];
  store.subscribe(
    (s) => s.a,
    (now, before) => calls.push([now, before]),
  );
  store.set({ b: 2 });
  store.set({ a: 1 });
  assert.deepEqual(calls, []);
  store.set({ a: 3 });
  assert.deepEqual(calls, [[3, 1]]);
});

test("a flat list is another value when one of its items is", () => {
  const list = ["x"];
  const store = new Store({ a: 1, list, b: 1 });
  let calls = 0;
  store.subscribe(
    (s) => [s.a, s.list],
    () => (calls += 1),
  );
  store.set({ list, b: 2 });
  assert.equal(calls, 0);
  store.set({ list: ["x"] });
  assert.equal(calls, 1);
});

test("a listener may change the state; nobody is called twice for one value", () => {
  const store = new Store({ a: 1, double: 2 });
  /** @type {number[]} */
  const seen = [];
  store.subscribe(
    (s) => s.a,
    (a) => store.set({ double: 2 * a }),
  );
  store.subscribe(
    (s) => s.double,
    (double) => seen.push(double),
  );
  store.set({ a: 4 });
  assert.deepEqual(seen, [8]);
});
