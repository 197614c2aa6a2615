/** The parts of Try that know no page: what can be chosen, and an answer as it comes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromSnapshot } from "../../web/app/core/mesh.js";
import { ANSWER_MAX, Answer } from "../../web/app/try/answer.js";
import { LISTED_MAX, choiceGroups, findChoices } from "../../web/app/try/choices.js";

/** @param {object} [more] */
const backend = (more) => ({
  id: "a",
  name: "Ann",
  kind: "ollama",
  ring: "machine",
  enabled: true,
  health: { state: "healthy" },
  models: ["m"],
  details: {},
  ...more,
});
/** @param {object[]} backends @param {object} [more] */
const meshOf = (backends, more) => fromSnapshot({ seq: 1, backends, models: [], ...more });
/** @param {object[]} backends @param {object} [more] */
const groupsOf = (backends, more) => choiceGroups(meshOf(backends, more), null);
/** @param {object} delta */
const chunk = (delta) => `data: ${JSON.stringify({ choices: [{ delta }] })}\n\n`;

test("each model is first wherever it is best, then on each backend from the nearest ring on", () => {
  const groups = groupsOf([
    backend({ id: "far", name: "Far", ring: "cloud" }),
    backend({ id: "near", details: { m: { loaded: true } } }),
    backend({ id: "off", enabled: false, models: ["gone"] }),
    backend({ id: "ill", name: "Ill", ring: "lan", health: { state: "unhealthy" }, models: ["m", "x"] }),
  ]);
  assert.deepEqual(
    groups.map((g) => [g.label, ...g.choices.map((c) => `${c.id} ${c.word}`)]),
    [
      ["Wherever it is best", "m 3 places · loaded", "x down"],
      ["This machine · Ann", "near/m loaded"],
      ["LAN peers · Ill", "ill/m down", "ill/x down"],
      ["Cloud · Far", "far/m healthy"],
    ],
  );
});

test("models that do not chat are left out, and those that only are offered are not the best place", () => {
  const [best, own] = groupsOf(
    [backend({ models: ["nomic-embed", "m", "seen"], details: { seen: { capabilities: ["rerank"] } } })],
    {
      offered: { m: ["a"] },
    },
  );
  assert.equal(best.label, "This machine · Ann");
  assert.deepEqual(
    best.choices.map((c) => c.model),
    ["m"],
  );
  assert.equal(own, undefined);
});

test("this machine's models are loaded, cold or loading as their engines say", () => {
  const states = { a: "ready", b: "on-disk", c: "waiting", d: "failed" };
  const models = new Map(Object.entries(states).map(([id, state]) => [id, { id, state, purpose: "chat" }]));
  const mesh = meshOf([backend({ id: "this-machine", models: Object.keys(states) })]);
  const [best] = choiceGroups(mesh, /** @type {any} */ ({ models }));
  assert.deepEqual(
    best.choices.map((c) => c.word),
    ["loaded", "cold", "loading", "down"],
  );
});

test("a search takes all its words, and a list no more than it can show", () => {
  const many = Array.from({ length: 2000 }, (_, i) => `model-${i}`);
  const groups = groupsOf([backend({ models: many })]);
  const { groups: all, more } = findChoices(groups, "");
  assert.equal(
    all.reduce((n, g) => n + g.choices.length, 0),
    LISTED_MAX,
  );
  assert.equal(more, 4000 - LISTED_MAX);
  const found = findChoices(groups, "ANN 1999").groups;
  assert.deepEqual(
    found.map((g) => g.choices.map((c) => c.id)),
    [["a/model-1999"]],
  );
});

test("an answer's text, reasoning, pace and end are read from pieces that are cut anywhere", () => {
  const stream =
    ": waiting\n\n" +
    chunk({ reasoning_content: "hm" }) +
    chunk({ content: "Hél" }) +
    chunk({ content: "lo" }) +
    'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n' +
    'data: {"choices":[],"usage":{"completion_tokens":41}}\n\ndata: [DONE]\n\n';
  for (const size of [1, 7, 1000]) {
    let now = 0;
    const answer = new Answer(() => (now += 100));
    for (let i = 0; i < stream.length; i += size) answer.feed(stream.slice(i, i + size));
    answer.end();
    assert.deepEqual([answer.text, answer.reasoning, answer.finish], ["Héllo", "hm", "length"]);
    assert.equal(answer.firstMs, 100);
    assert.deepEqual(answer.pace, { tokens: 41, perSecond: 200, isEstimated: false });
  }
});

test("without a count the pieces are counted, and that is said", () => {
  let now = 0;
  const answer = new Answer(() => (now += 1000));
  answer.feed(chunk({ content: "a" }) + chunk({ content: "b" }) + chunk({ content: "c" }));
  assert.deepEqual(answer.pace, { tokens: 3, perSecond: 1, isEstimated: true });
});

test("reasoning between marks is told apart, however it is cut, and a mark inside of a text is text", () => {
  for (const size of [1, 3, 100]) {
    const answer = new Answer(() => 0);
    const text = "\n<think>\nWhy <b>?</think>\n\nSo: <think> is a mark.";
    for (let i = 0; i < text.length; i += size) answer.feed(chunk({ content: text.slice(i, i + size) }));
    answer.end();
    assert.deepEqual([answer.reasoning.trim(), answer.text], ["Why <b>?", "So: <think> is a mark."]);
  }
});

test("what is no chat is passed over, errors are kept, and marks that turn a text are taken out", () => {
  const answer = new Answer(() => 0);
  answer.feed('data: nonsense\n\ndata: null\n\ndata: [1]\n\ndata: {"choices":7}\n\nevent: x\n');
  answer.feed(
    chunk({ content: "a\u202eb\u0007c\u001b[2J" }) + chunk({ content: 7 }) + chunk({ content: null }),
  );
  answer.feed('data: {"error":{"message":"It broke."}}\n\n');
  assert.deepEqual([answer.text, answer.error, answer.isComplete], ["abc[2J", "It broke.", false]);
});

test("an answer without end is known to be too long, also within one line", () => {
  const answer = new Answer(() => 0);
  answer.feed("x".repeat(ANSWER_MAX + 1));
  assert.equal(answer.isTooLong, true);
});
