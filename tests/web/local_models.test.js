import assert from "node:assert/strict";
import test from "node:test";
import { formatBytes } from "../../web/app/core/format.js";
import {
  FOLD,
  LOCAL_ID,
  activityText,
  fitText,
  fromAnswer,
  lookOf,
  memoryPart,
  placedModels,
  stateText,
  summaryText,
  wantsAnswer,
  withLocalEvent,
} from "../../web/app/core/local_models.js";
import { SIZES, placeChips } from "../../web/app/map/sizes.js";

/** @param {string} id @param {any} [over] @returns {any} */
const model = (id, over = {}) => ({
  id,
  state: "on-disk",
  progress: null,
  reason: null,
  in_flight: 0,
  waiting: 0,
  idle_s: null,
  expires_in_s: null,
  keep: false,
  hidden: false,
  ...over,
});
const MEMORY = { total_bytes: 32e9, available_bytes: 20e9, models_bytes: 3e9, budget_bytes: 12e9 };

/** @param {any[]} models @param {any} [over] */
const local = (models, over = {}) =>
  fromAnswer({ models, memory: MEMORY, downloads: [], stores: ["s"], ...over }, 1000, null);

const seven = ["a", "b", "c", "d", "e", "f", "g"];
const never = () => false;

test("with many models, those on disk are one entry behind those in use", () => {
  const view = local([model("c", { state: "ready" }), model("f", { state: "loading" })]);
  assert.deepEqual(placedModels(view, seven, false, never), ["c", "f", `${FOLD}5 on disk`]);
  assert.deepEqual(placedModels(view, seven, true, never).slice(0, 3), ["c", "f", "a"]);
  assert.equal(placedModels(view, seven, true, never).length, 8);
});

test("one that is chosen or found comes out of the fold", () => {
  assert.deepEqual(
    placedModels(local([]), seven, false, (id) => id === "d"),
    ["d", `${FOLD}6 on disk`],
  );
  assert.deepEqual(
    placedModels(local([]), seven, false, () => true),
    seven,
  );
});

test("few models, or a single one on disk, are not folded", () => {
  assert.deepEqual(placedModels(local([model("b", { state: "ready" })]), ["a", "b"], false, never), [
    "b",
    "a",
  ]);
  const busy = local(seven.slice(1).map((id) => model(id, { state: "ready" })));
  assert.equal(placedModels(busy, seven, false, never).at(-1), "a");
});

test("a failed model is there although nothing is routed to it", () => {
  const view = local([model("x", { state: "failed" }), model("y", { state: "failed", hidden: true })]);
  assert.deepEqual(placedModels(view, ["a"], false, never), ["x", "a"]);
});

test("the entry for those on disk keeps its key whatever it says", () => {
  const chip = (/** @type {string} */ text) =>
    placeChips(
      LOCAL_ID,
      { models: [{ model: text, col: 0, row: 0, span: 1 }], rows: 1, cols: 1 },
      100,
      SIZES[0],
      0,
      0,
    )[0];
  assert.equal(chip(`${FOLD}5 on disk`).key, chip(`${FOLD}fold`).key);
});

test("an event changes and removes models, and leaves the rest as it was answered", () => {
  const before = local([model("a"), model("b")]);
  const event = { models: [model("a", { state: "loading" })], removed: ["b"], memory: MEMORY, downloads: [] };
  const after = withLocalEvent(before, event, 2000);
  assert.deepEqual([...after.models.keys()], ["a"]);
  assert.equal(after.models.get("a")?.state, "loading");
  assert.deepEqual(after.stores, ["s"]);
  assert.equal(before.models.size, 2);
  assert.equal(after.at, 2000);
});

test("an answer that was overtaken gives only what events do not tell", () => {
  const newer = local([model("a", { state: "ready" })]);
  const view = fromAnswer({ models: [model("a")], memory: {}, downloads: [1], stores: ["t"] }, 3, newer);
  assert.equal(view.models.get("a")?.state, "ready");
  assert.deepEqual([view.memory, view.downloads, view.stores], [MEMORY, [], ["t"]]);
});

test("everything is asked for again when more has changed than an event tells", () => {
  const before = { ...local([model("a")]), revision: 3 };
  assert.equal(wantsAnswer(null, { revision: 0 }), true);
  assert.equal(wantsAnswer(before, { models: [model("a")], revision: 3 }), false);
  assert.equal(wantsAnswer(before, { models: [], revision: 4 }), true);
});

test("states and what goes on, in words", () => {
  const at = Date.now() - 60_000;
  assert.equal(stateText(model("a", { state: "loading", progress: 0.429 })), "loading 42 %");
  assert.equal(stateText(model("a", { state: "loading" })), "loading");
  assert.equal(stateText(model("a", { state: "something new" })), "on disk");
  const ready = { state: "ready", idle_s: 120, expires_in_s: 780 };
  assert.equal(activityText(model("a", ready), at), "idle 3 min · unloads in 12 min");
  assert.equal(
    activityText(model("a", { ...ready, keep: true, expires_in_s: null }), at),
    "idle 3 min · kept",
  );
  assert.equal(activityText(model("a", { state: "ready", in_flight: 2 }), at), "answers 2 requests");
  assert.equal(activityText(model("a", { state: "loading", waiting: 1 }), at), "1 request waiting");
});

test("the card tells what is loaded, the downloads together, and the memory", () => {
  const running = { state: "running", done_bytes: 30, total_bytes: 100 };
  const view = local([model("a", { state: "ready" }), model("b"), model("c", { hidden: true })], {
    downloads: [running, running, { ...running, state: "paused" }],
  });
  assert.equal(summaryText(view), "1 of 2 loaded · ↓ 30 % · 3 GB of 12 GB");
  assert.equal(summaryText(local([])), "no models yet · 3 GB of 12 GB");
  assert.equal(memoryPart({ ...MEMORY, budget_bytes: 0 }), 1);
  assert.equal(memoryPart({ ...MEMORY, models_bytes: 0, budget_bytes: 0 }), 0);
});

test("what the map does not show does not change its look", () => {
  const look = (/** @type {any} */ over) => lookOf(local([model("a", { state: "ready", ...over })]));
  assert.equal(look({ idle_s: 1 }), look({ idle_s: 2 }));
  assert.notEqual(look({}), look({ state: "draining" }));
});

test("sizes and fits are written as people write them", () => {
  assert.deepEqual(
    [0, 999, 98_000_000, 999_600, 1_000_000_000, 2_449_000_000, 12_400_000_000].map(formatBytes),
    ["0 B", "999 B", "98 MB", "1 MB", "1 GB", "2.4 GB", "12 GB"],
  );
  assert.equal(fitText("now"), "fits");
  assert.equal(fitText("never", 3e9), "too big by 3 GB");
  assert.equal(fitText("never"), "too big for this machine");
});
