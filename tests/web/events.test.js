import assert from "node:assert/strict";
import test from "node:test";
import { EventStream } from "../../web/app/core/events.js";

/** A world without network and clock: streams and timers that the test moves by hand. */
function world() {
  /** @type {any} */
  const w = {
    time: 0,
    timers: [],
    streams: [],
    heard: [],
    lines: [],
    asked: 0,
    locked: 0,
    reply: async () => ({ seq: 50 }),
  };
  const listener = {
    event: (/** @type {string} */ name, /** @type {any} */ data) => w.heard.push([name, data.seq]),
    connection: (/** @type {string} */ l) => w.lines.push(l),
    locked: () => (w.locked += 1),
  };
  w.feed = new EventStream(
    {
      snapshot: () => ((w.asked += 1), w.reply()),
      now: () => w.time,
      random: () => 0.5,
      openStream: () => {
        /** @type {any} */
        const s = {
          readyState: 1,
          on: {},
          closed: false,
          addEventListener: (/** @type {string} */ n, /** @type {any} */ f) => (s.on[n] = f),
          close: () => (s.closed = true),
        };
        w.streams.push(s);
        return s;
      },
      setTimer: (run, ms) => w.timers.push({ run, at: w.time + ms }) && w.timers.length,
      clearTimer: (id) => {
        if (w.timers[id - 1]) w.timers[id - 1].run = null;
      },
    },
    listener,
  );
  w.pass = (/** @type {number} */ ms) => {
    for (const end = w.time + ms; w.time < end;) {
      w.time += 500;
      for (const t of w.timers)
        if (t.run && t.at <= w.time) {
          const { run } = t;
          t.run = null;
          run();
        }
    }
  };
  w.send = (/** @type {string} */ name, /** @type {any} */ data) =>
    w.streams.at(-1).on[name]({ data: JSON.stringify(data) });
  w.feed.start();
  return w;
}

test("events arrive in order, and old ones only once", () => {
  const w = world();
  w.send("snapshot", { seq: 4 });
  w.send("health", { seq: 5 });
  w.send("health", { seq: 5 });
  assert.deepEqual(w.heard, [
    ["snapshot", 4],
    ["health", 5],
  ]);
});

test("a missing number makes it ask for the whole picture", async () => {
  const w = world();
  w.send("snapshot", { seq: 4 });
  w.send("health", { seq: 9 });
  await new Promise(setImmediate);
  assert.equal(w.asked, 1);
  assert.deepEqual(w.heard.at(-1), ["snapshot", 50]);
});

test("silence for 12 s is said, and news takes it back", () => {
  const w = world();
  w.reply = () => new Promise(() => {});
  w.send("snapshot", { seq: 4 });
  w.pass(11_000);
  assert.deepEqual(w.lines, []);
  w.pass(2_500);
  assert.deepEqual(w.lines, ["stale"]);
  w.send("health", { seq: 5 });
  assert.deepEqual(w.lines, ["stale", "live"]);
});

test("a mesh in which nothing happens is asked after, and is not called stale", async () => {
  const w = world();
  w.reply = async () => ({ seq: 4 });
  w.send("snapshot", { seq: 4 });
  for (let i = 0; i < 40; i += 1) {
    w.pass(1000);
    await new Promise(setImmediate);
  }
  assert.ok(w.asked >= 3 && w.asked <= 6, String(w.asked));
  assert.deepEqual(w.lines, []);
  assert.equal(w.streams.length, 1);
});

test("a stream that lost its news is opened anew", async () => {
  const w = world();
  w.send("snapshot", { seq: 4 });
  for (let i = 0; i < 10; i += 1) {
    w.pass(1000);
    await new Promise(setImmediate);
  }
  assert.equal(w.streams.length, 2);
  assert.deepEqual(w.heard.at(-1), ["snapshot", 50]);
});

test("a refused stream is opened again, later each time", async () => {
  const w = world();
  for (let i = 0; i < 3; i += 1) {
    w.streams.at(-1).readyState = 2;
    w.streams.at(-1).on.error();
    w.pass(2_500);
  }
  await new Promise(setImmediate);
  assert.equal(w.streams.length, 4);
  assert.ok(w.streams.slice(0, 3).every((/** @type {any} */ s) => s.closed));
});

test("without a session it stops and says so", async () => {
  const w = world();
  w.reply = async () => {
    throw Object.assign(new Error("no"), { status: 401 });
  };
  w.streams[0].readyState = 2;
  w.streams[0].on.error();
  await new Promise(setImmediate);
  assert.equal(w.locked, 1);
  assert.equal(w.feed.isRunning, false);
});

test("after sleep it connects anew at once", () => {
  const w = world();
  w.send("snapshot", { seq: 4 });
  w.time += 3_600_000;
  w.pass(1_000);
  assert.equal(w.streams.length, 2);
});

test("hidden, no timer and no stream is left", () => {
  const w = world();
  w.feed.pause();
  assert.ok(w.streams[0].closed);
  assert.ok(w.timers.every((/** @type {any} */ t) => t.run === null));
});
