import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../web/app/", import.meta.url));
const files = /** @type {string[]} */ (readdirSync(ROOT, { recursive: true })).filter((f) =>
  f.endsWith(".js"),
);
const imports = new Map(
  files.map((file) => [
    file,
    [...readFileSync(join(ROOT, file), "utf8").matchAll(/(?:from |\bimport\()"(\.[^"]+)"/g)].map((m) =>
      join(dirname(file), m[1]),
    ),
  ]),
);

/** Follow the imports of one module; a path that comes back to itself is a circle. @param {string[]} path @param {Set<string>} done @returns {string|null} */
function circle(path, done) {
  const file = path[path.length - 1];
  if (path.indexOf(file) < path.length - 1) return path.slice(path.indexOf(file)).join(" → ");
  if (done.has(file)) return null;
  for (const next of imports.get(file) ?? []) {
    const found = circle([...path, next], done);
    if (found) return found;
  }
  done.add(file);
  return null;
}

test("no module imports itself by way of others", () => {
  const done = new Set();
  for (const file of files) assert.equal(circle([file], done), null);
});

test("every import is a module that exists, and every module is used", () => {
  const used = new Set(["chrome/main.js", ...[...imports.values()].flat()]);
  assert.deepEqual([...used].sort(), [...files].sort());
});
