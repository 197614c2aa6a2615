import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { PALETTES } from "../../web/app/map/colours.js";
import { contrast, distance } from "./vision.js";

const THEMES = /** @type {const} */ (["dark", "light", "contrast"]);

test("every two looks are told apart by colour-blind eyes", () => {
  for (const theme of THEMES) {
    const looks = Object.entries(PALETTES[theme].looks);
    for (const [a, x] of looks)
      for (const [b, y] of looks) {
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
    for (const [look, colour] of Object.entries(p.looks))
      assert.ok(contrast(colour, p.lane) >= 2.6, `${theme} ${look} ${contrast(colour, p.lane).toFixed(2)}`);
    for (const text of [p.ink, p.muted])
      for (const ground of [p.page, p.lane]) assert.ok(contrast(text, ground) >= 4.5, `${theme} ${text}`);
  }
});

test("cards and canvas use the same colours", () => {
  const css = readFileSync(new URL("../../web/styles/tokens.css", import.meta.url), "utf8");
  for (const [look, dark] of Object.entries(PALETTES.dark.looks)) {
    const light = PALETTES.light.looks[/** @type {keyof typeof PALETTES.light.looks} */ (look)];
    assert.ok(css.includes(`--${look}: light-dark(${light}, ${dark})`), look);
  }
});
