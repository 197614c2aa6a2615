import assert from "node:assert/strict";
import test from "node:test";
import {
  formatDuration,
  formatCompact,
  displayName,
  formatModelDetail,
  hostOf,
  originOf,
  truncateMiddle,
  formatMs,
} from "../../web/app/core/format.js";

const letters = (/** @type {string} */ text) => [...text].length;

test("a long name keeps its beginning and its end", () => {
  const short = truncateMiddle("mlx-community/Qwen3-4B-Instruct-2507-4bit", 20, letters);
  assert.equal(letters(short), 20);
  assert.match(short, /^mlx-commun.*…/);
  assert.match(short, /2507-4bit$|07-4bit$/);
});

test("a name that fits is left alone", () => assert.equal(truncateMiddle("phi-4", 5, letters), "phi-4"));

test("a name of thousands of characters is shortened at once", () => {
  const start = performance.now();
  assert.ok(letters(truncateMiddle("x".repeat(300_000), 30, letters)) <= 30);
  assert.ok(performance.now() - start < 200);
});

test("an emoji is never cut in two", () => {
  for (let room = 2; room < 12; room += 1)
    assert.ok(
      !/[\ud800-\udbff](?![\udc00-\udfff])/.test(truncateMiddle("👩‍👩‍👧‍👦🦙🦙🦙🦙🦙🦙🦙🦙🦙🦙", room, letters)),
    );
});

test("marks that turn the reading direction don't reach the page", () => {
  assert.equal(displayName("safe\u202egpj.exe\u2066\u0000"), "safegpj.exe");
  assert.equal(displayName("\u200f\u200b"), "(no name)");
});

test("numbers read as people say them", () => {
  assert.deepEqual(
    [formatMs(null), formatMs(0.4), formatMs(11.6), formatMs(1234), formatMs(12_345)],
    ["–", "<1 ms", "12 ms", "1.2 s", "12 s"],
  );
  assert.deepEqual(
    [formatDuration(5), formatDuration(61), formatDuration(8100), formatDuration(200_000)],
    ["5 s", "1 min", "2 h 15 min", "2 d 7 h"],
  );
  assert.deepEqual([formatCompact(47_950), formatCompact(1_247_950)], ["47,950", "1.2M"]);
});

test("an address is shown without what everybody knows", () => {
  assert.equal(hostOf("http://127.0.0.1:11434/v1"), "127.0.0.1:11434");
  assert.equal(hostOf("not a url"), "not a url");
});

test("what an engine tells of a model is one line, without what goes without saying", () => {
  const all = {
    context: 8192,
    parameters: "8B",
    quantization: "Q4_K_M",
    loaded: true,
    capabilities: ["chat", "completion", "vision"],
  };
  assert.equal(formatModelDetail(all), "8k context · 8B · Q4_K_M · in memory · vision");
  assert.equal(formatModelDetail({ loaded: false }), "loads on the first request");
  assert.equal(formatModelDetail({ context: 200_000 }), "200k context");
  assert.equal(formatModelDetail({ context: 512 }), "512 context");
  for (const none of [undefined, null, {}, { capabilities: null }, { capabilities: ["chat"] }])
    assert.equal(formatModelDetail(none), "");
});

test("a path leads to the same server, another scheme, host, port or socket to another one", () => {
  const of = originOf("http://gpu.lan:8000");
  for (const url of ["http://gpu.lan:8000/v1", "http://GPU.lan:8000/"]) assert.equal(originOf(url), of, url);
  for (const url of ["https://gpu.lan:8000", "http://gpu:8000", "http://gpu.lan:8001", "gpu.lan:8000", ""])
    assert.notEqual(originOf(url), of, url);
  assert.equal(originOf("https://api.example.com:443/v1"), originOf("https://api.example.com"));
  assert.notEqual(originOf("unix:///run/a.sock"), originOf("unix:///run/b.sock"));
});
