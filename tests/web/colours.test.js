import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { contrast, distance } from "./vision.js";

const CSS = readFileSync(new URL("../../web/styles/tokens.css", import.meta.url), "utf8");
const STATUSES = ["healthy", "warming", "unhealthy", "unknown", "disabled"];
const THEMES = ["light", "dark", "contrast"];

/** A colour of a theme as `#rrggbb`. @param {string} theme @param {string} name */
function colour(theme, name) {
  const [base, , own] = CSS.split(/:root\[data-theme="(contrast)"\] \{/);
  const block = theme === "contrast" ? own.slice(0, own.indexOf("}")) : "";
  const [, found] = new RegExp(`--${name}: (#\\w+);`).exec(block) ?? [];
  const [, light, dark] = new RegExp(`--${name}: light-dark\\((#\\w+), (#\\w+)\\)`).exec(base) ?? [];
  return (found ?? (theme === "light" ? light : dark)).replace(/^#(\w)(\w)(\w)$/, "#$1$1$2$2$3$3");
}

test("every two statuses are told apart by colour-blind eyes", () => {
  for (const theme of THEMES)
    for (const a of STATUSES)
      for (const b of STATUSES) {
        if (a >= b) continue;
        for (const eye of /** @type {const} */ (["deuteranopia", "protanopia"])) {
          const far = distance(colour(theme, a), colour(theme, b), eye);
          assert.ok(far >= 12, `${theme}: ${a} and ${b} are ${far.toFixed(1)} apart under ${eye}`);
        }
      }
});

test("edges stand out from the page, and words are readable on it", () => {
  for (const theme of THEMES) {
    const lane = colour(theme, "lane");
    for (const status of STATUSES) {
      const far = contrast(colour(theme, status), lane);
      assert.ok(far >= 2.6, `${theme} ${status} ${far.toFixed(2)}`);
    }
    for (const text of ["ink", "muted"])
      for (const ground of ["page", "lane"])
        assert.ok(contrast(colour(theme, text), colour(theme, ground)) >= 4.5, `${theme} ${text}`);
  }
});
