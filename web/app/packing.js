/** What both styles of layout share. */
import { CHIP_GAP, CHIP_PAD, ems } from "./sizes.js";
import { routeKey } from "./store.js";

/** How many columns a name takes. @param {string} model @param {number} unit the width of one column @param {number} font */
export const spanOf = (model, unit, font) =>
  Math.min(3, Math.max(1, Math.ceil((ems(model) * font + CHIP_PAD + CHIP_GAP) / (unit + CHIP_GAP))));

/** @param {string[]} models @param {number} cols @param {(model:string)=>number} span */
export function pack(models, cols, span) {
  let col = 0;
  let row = 0;
  let widest = 0;
  const out = models.map((model) => {
    const need = Math.min(cols, span(model));
    if (col + need > cols) [col, row] = [0, row + 1];
    const at = { model, col, row, span: need };
    col += need;
    widest = Math.max(widest, col);
    return at;
  });
  return { models: out, rows: models.length ? row + 1 : 0, cols: widest };
}

/** @param {string} id @param {Packing} p @param {number} unit @param {Sizes} s @param {number} x @param {number} y */
export function chips(id, p, unit, s, x, y) {
  return p.models.map(({ model, col, row, span }) => {
    const top = y + row * s.chip.pitch;
    return {
      key: routeKey(id, model), backend: id, model,
      x: x + col * (unit + CHIP_GAP), y: top, w: span * (unit + CHIP_GAP) - CHIP_GAP, h: s.chip.h,
      rail: top + s.chip.h + (s.chip.pitch - s.chip.h) / 2,
    };
  });
}

/**
 * Add the two hubs and the index.
 * @param {"wide"|"stacked"} style
 * @param {Sizes} s
 * @param {{w:number, h:number, fit:number}} world
 * @param {Layout["lanes"]} lanes
 * @param {Layout["boxes"]} boxes
 * @param {number} x
 * @param {number} hub how many times larger than life the hubs are drawn in the world
 * @param {number} more extra room between user and router
 */
export function finish(style, s, world, lanes, boxes, x, hub, more) {
  const middle = lanes.length ? (lanes[0].y + lanes[lanes.length - 1].y + lanes[lanes.length - 1].h) / 2 : world.h / 2;
  const userW = s.user.w * hub;
  const step = (style === "stacked" ? 18 * hub : s.step) + more;
  /** @type {Layout["byKey"]} */
  const byKey = new Map();
  for (const box of boxes) {
    byKey.set(box.key, box);
    for (const chip of box.chips) byKey.set(chip.key, chip);
  }
  const rect = (/** @type {number} */ rx, /** @type {number} */ rw, /** @type {number} */ rh) =>
    ({ x: rx, y: middle - rh / 2, w: rw, h: rh });
  return {
    style, dense: s.dense, ...world, hub, lanes, boxes, byKey,
    user: rect(x, userW, s.user.h * hub),
    router: rect(x + userW + step, s.router.w * hub, s.router.h * hub),
  };
}
