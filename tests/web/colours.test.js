import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { PALETTES } from "../../web/app/map/colours.js";
import { contrast, distance } from "./vision.js";

const THEMES = /** @type {const} */ (["dark", "light", "contrast"]);

test("every two statuses are told apart by colour-blind eyes", () => {
  for (const theme of THEMES) {
    const statuses = Object.entries(PALETTES[theme].statuses);
    for (const [a, x] of statuses)
      for (const [b, y] of statuses) {
        if (a >= b) continue;
        for (const eye of /** @type {const} */ (["deuteranopia", "protanopia"])) {
          const far = distance(x, y, eye);
          assert.ok(far >= 12, `${theme}: ${a} and ${b} are ${far.toFixed(1)} apart under ${eye}`);
        }
      }
  }
});

test("edges stand out from the page, and words are readable on it", () => {
  for (const theme of THEMES) {
    const p = PALETTES[theme];
    for (const [status, colour] of Object.entries(p.statuses))
      assert.ok(contrast(colour, p.lane) >= 2.6, `${theme} ${status} ${contrast(colour, p.lane).toFixed(2)}`);
    for (const text of [p.ink, p.muted])
      for (const ground of [p.page, p.lane]) assert.ok(contrast(text, ground) >= 4.5, `${theme} ${text}`);
  }
});

test("cards and canvas use the same colours", () => {
  const css = readFileSync(new URL("../../web/styles/tokens.css", import.meta.url), "utf8");
  for (const [status, dark] of Object.entries(PALETTES.dark.statuses)) {
    const light = PALETTES.light.statuses[/** @type {keyof typeof PALETTES.light.statuses} */ (status)];
    assert.ok(css.includes(`--${status}: light-dark(${light}, ${dark})`), status);
  }
});
