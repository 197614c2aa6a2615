import assert from "node:assert/strict";
import test from "node:test";
import { matchesPattern, patternOf, withAlso } from "../../web/app/core/rules.js";

test("patterns match as the service's do: whole names, any letters, sets of letters", () => {
  for (const [pattern, name, matches] of /** @type {[string, string, boolean][]} */ ([
    ["qwen*", "qwen3-32b", true],
    ["qwen*", "my-qwen3", false],
    ["*", "a/b:c\nd", true],
    ["gpt-?", "gpt-5", true],
    ["gpt-?", "gpt-51", false],
    ["v[12].0", "v2.0", true],
    ["v[!12].0", "v2.0", false],
    ["v[!12].0", "v3.0", true],
    ["a.b", "axb", false],
    ["a[]]b", "a]b", true],
    ["a[b", "a[b", true],
    ["(a|b)+$", "(a|b)+$", true],
    ["[z-a]", "[z-a]", true],
  ]))
    assert.equal(matchesPattern(pattern, name), matches, `${pattern} ${name}`);
  for (const name of ["qwen3-32b", "odd[1]*?", "a]b", "back\\slash"])
    assert.ok(matchesPattern(patternOf(name), name), name);
  assert.equal(matchesPattern(patternOf("a*"), "ab"), false);
});

test("a backend is used too: by a rule of its own, behind all others", () => {
  const other = { model: "x", pin: ["a"] };
  assert.deepEqual(withAlso([other], "m", "peer-1"), [other, { model: "m", also: ["peer-1"] }]);
});

test("a rule of exactly this model gets the backend, and keeps what else it says", () => {
  for (const name of ["m", "m:latest"])
    assert.deepEqual(
      withAlso([{ model: name, also: ["a"], bound: "lan" }, { model: "*" }], "m", "b"),
      [{ model: name, also: ["a", "b"], bound: "lan" }, { model: "*" }],
      name,
    );
});

test("before a wider rule, which counts first, comes a copy of it for this model", () => {
  const wide = { model: "q*", bound: "lan", also: ["a"] };
  assert.deepEqual(withAlso([wide, { model: "qwen" }], "qwen", "b"), [
    { model: "qwen", bound: "lan", also: ["a", "b"] },
    wide,
    { model: "qwen" },
  ]);
  assert.deepEqual(withAlso([{ model: "*", pin: ["own"] }], "m", "b")[0], {
    model: "m",
    also: ["b"],
    pin: ["own", "b"],
  });
});
