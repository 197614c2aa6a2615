import assert from "node:assert/strict";
import test from "node:test";
import { computeLayout } from "../../web/app/map/layout.js";
import { modelEdge, samplePath, backendEdge } from "../../web/app/map/paths.js";
import { nextKey } from "../../web/app/map/keyboard_nav.js";
import { mesh } from "./meshes.js";

const SIZES = [
  [0, 0],
  [1, 1],
  [2, 0],
  [10, 60],
  [24, 200],
  [100, 2000],
  [500, 10000],
];
const VIEWS = [
  { w: 900, h: 520 },
  { w: 1280, h: 710 },
  { w: 1920, h: 990 },
  { w: 420, h: 700 },
];
const cases = SIZES.flatMap(([b, m]) =>
  VIEWS.map((v) => ({ b, m, v, layout: computeLayout(mesh(b, m), v) })),
);

/** @param {Rect} a @param {Rect} b */
const overlap = (a, b) =>
  a.x < b.x + b.w - 0.01 && b.x < a.x + a.w - 0.01 && a.y < b.y + b.h - 0.01 && b.y < a.y + a.h - 0.01;

test("the same mesh in the same window is laid out the same", () => {
  for (const { b, m, v, layout } of cases) assert.deepEqual(computeLayout(mesh(b, m), v), layout);
});

test("every backend and every model has its place, inside the world", () => {
  for (const { b, m, layout } of cases) {
    const list = mesh(b, m);
    assert.equal(layout.boxes.length, list.length);
    for (const one of list) assert.equal(new Set(layout.byKey.keys()).has(`b:${one.id}`), true);
    assert.equal(
      layout.boxes.reduce((n, box) => n + box.chips.length, 0),
      list.reduce((n, one) => n + one.models.length, 0),
    );
    for (const box of layout.boxes) {
      for (const r of [box, ...box.chips])
        assert.ok(
          r.x >= 0 && r.y >= 0 && r.x + r.w <= layout.w + 1 && r.y + r.h <= layout.h + 1,
          `${b}/${m} ${JSON.stringify(r)} in ${layout.w}x${layout.h}`,
        );
    }
  }
});

test("no two cards overlap", () => {
  for (const { b, m, v, layout } of cases) {
    const cells = layout.boxes;
    const hubs = [layout.user, layout.router];
    assert.ok(!overlap(layout.user, layout.router));
    cells.forEach((one, i) => {
      for (const hub of hubs) assert.ok(!overlap(one, hub), `${b}/${m} ${v.w}`);
      for (const two of cells.slice(i + 1, i + 60))
        assert.ok(!overlap(one.cell, two.cell), `${b}/${m} ${v.w}: ${one.id} ${two.id}`);
      const own = [one, ...one.chips];
      own.forEach((c, j) =>
        own.slice(j + 1).forEach((d) => assert.ok(!overlap(c, d), `${b}/${m}: ${one.id}`)),
      );
    });
  }
});

test("no edge crosses a foreign card", () => {
  for (const { b, m, layout } of cases.filter((c) => c.b <= 100)) {
    const laneX = new Map(layout.lanes.map((l) => [l.ring, l.x]));
    for (const box of layout.boxes) {
      const ways = [
        backendEdge(layout.router, box, laneX.get(box.ring) ?? 0),
        ...box.chips.map((chip) => modelEdge(box, chip)),
      ];
      ways.forEach((way, i) => {
        const own = i === 0 ? box : box.chips[i - 1];
        const p = samplePath(way, 40);
        // Straight pieces are checked along their whole length.
        for (let n = 2; n < p.length; n += 2)
          for (let f = 0; f <= 1; f += 0.125) {
            const [x, y] = [p[n - 2] + (p[n] - p[n - 2]) * f, p[n - 1] + (p[n + 1] - p[n - 1]) * f];
            for (const other of layout.boxes) {
              if (
                x < other.cell.x - 1 ||
                x > other.cell.x + other.cell.w + 1 ||
                y < other.cell.y - 1 ||
                y > other.cell.y + other.cell.h + 1
              )
                continue;
              for (const card of [other, ...other.chips]) {
                if (card === own || card === box) continue;
                assert.ok(
                  !(
                    x > card.x + 0.6 &&
                    x < card.x + card.w - 0.6 &&
                    y > card.y + 0.6 &&
                    y < card.y + card.h - 0.6
                  ),
                  `${b}/${m} ${box.id} → ${own.key} through ${card.key}`,
                );
              }
            }
          }
      });
    }
  }
});

test("ten backends with sixty models stand at full size in a small window", () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    for (const v of VIEWS.slice(0, 3)) {
      const layout = computeLayout(mesh(10, 60, seed), v);
      assert.equal(layout.style, "wide", `seed ${seed} at ${v.w}`);
      assert.ok(layout.fit * 10.5 >= 10, `seed ${seed} at ${v.w}: ${layout.fit}`);
    }
  }
});

test("state, latency and traffic move nothing", () => {
  const list = mesh(10, 60);
  const other = list.map((b) => ({ ...b, status: "unhealthy", latency: 900, busy: 7 }));
  assert.deepEqual(computeLayout(other, VIEWS[1]), computeLayout(list, VIEWS[1]));
});

test("a backend that comes last in its lane moves no backend above it out of order", () => {
  const list = mesh(12, 60);
  const more = [...list, { id: "new", name: "new", ring: /** @type {any} */ ("cloud"), models: ["m"] }];
  const order = (/** @type {any} */ layout) =>
    layout.boxes.map((/** @type {any} */ b) => b.id).filter((/** @type {string} */ id) => id !== "new");
  assert.deepEqual(order(computeLayout(more, VIEWS[1])), order(computeLayout(list, VIEWS[1])));
});

test("arrow keys reach every node and lead back", () => {
  for (const [b, m] of [
    [10, 60],
    [100, 2000],
  ]) {
    const layout = computeLayout(mesh(b, m), VIEWS[1]);
    const seen = new Set(["u"]);
    const todo = ["u"];
    while (todo.length) {
      const key = /** @type {string} */ (todo.pop());
      for (const arrow of /** @type {const} */ (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"])) {
        const to = nextKey(layout, key, arrow);
        if (to && !seen.has(to)) (seen.add(to), todo.push(to));
      }
    }
    assert.equal(seen.size, layout.byKey.size + 2);
    assert.equal(nextKey(layout, layout.boxes[3].key, "ArrowLeft"), "r");
    assert.equal(nextKey(layout, "r", "ArrowRight", layout.boxes[3].key), layout.boxes[3].key);
  }
});
