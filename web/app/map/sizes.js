/** Sizes in world pixels, roomy to tight; widths by letters, the same in every browser. */
import { FOLD } from "../core/local_models.js";
import { routeKey } from "../core/mesh.js";

/** @type {Sizes[]} */
export const SIZES = [
  {
    card: { w: 206, h: 48 },
    chip: { h: 24, pitch: 30, font: 12.5 },
    head: 26,
    gap: 12,
    laneGap: 16,
    user: { w: 104, h: 54 },
    router: { w: 176, h: 84 },
    step: 40,
    fan: 168,
    reach: 44,
  },
  {
    card: { w: 190, h: 44 },
    chip: { h: 20, pitch: 25, font: 12 },
    head: 22,
    gap: 8,
    laneGap: 10,
    user: { w: 100, h: 54 },
    router: { w: 170, h: 84 },
    step: 32,
    fan: 150,
    reach: 38,
  },
  {
    card: { w: 184, h: 36 },
    chip: { h: 18, pitch: 22, font: 11.5 },
    head: 20,
    gap: 6,
    laneGap: 8,
    user: { w: 98, h: 52 },
    router: { w: 160, h: 96 },
    step: 26,
    fan: 128,
    reach: 32,
  },
  {
    card: { w: 150, h: 31 },
    chip: { h: 15, pitch: 17, font: 10.5 },
    head: 17,
    gap: 2,
    laneGap: 3,
    user: { w: 76, h: 60 },
    router: { w: 116, h: 108 },
    step: 10,
    fan: 68,
    reach: 18,
  },
];

export const EDGE = 14;

export const CHIP_GAP = 8;
export const CHIP_PAD = 24;

/** @param {number} h */
export const nameFontPx = (h) => (h > 56 ? 21 : h >= 40 ? 13 : h >= 34 ? 12 : 11);
export const CARD_PAD_EMS = 5.4;

/** @type {Map<string, number>} */
const widths = new Map();

/** Widths of letters, on the safe side. @type {[RegExp, number][]} */
const LETTER_WIDTHS = [
  [/[ijl.,:;'|!]/, 0.29],
  [/[frt()[\]\-/ ]/, 0.43],
  [/[mw]/, 0.87],
  [/[MW@%]/, 0.95],
  [/[A-Z_]/, 0.7],
  [/[0-9]/, 0.64],
];

/** In font sizes. @param {string} text */
export function textWidthEms(text) {
  let sum = widths.get(text);
  if (sum !== undefined) return sum;
  sum = 0;
  for (const letter of text.length > 80 ? text.slice(0, 80) : text) {
    if (letter > "\u2e80") sum += 1.05;
    else sum += LETTER_WIDTHS.find(([some]) => some.test(letter))?.[1] ?? 0.59;
  }
  if (widths.size > 20_000) widths.clear();
  widths.set(text, sum);
  return sum;
}

/** @param {string} model @param {number} unit @param {number} font */
export const columnSpan = (model, unit, font) =>
  Math.min(3, Math.max(1, Math.ceil((textWidthEms(model) * font + CHIP_PAD + CHIP_GAP) / (unit + CHIP_GAP))));

/** @param {string[]} models @param {number} cols @param {(model:string)=>number} span */
export function packModels(models, cols, span) {
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

/** @param {string} id @param {PackedModels} p @param {number} unit @param {Sizes} s @param {number} x @param {number} y */
export function placeChips(id, p, unit, s, x, y) {
  return p.models.map(({ model, col, row, span }) => {
    const top = y + row * s.chip.pitch;
    return {
      key: routeKey(id, model.startsWith(FOLD) ? FOLD : model),
      backend: id,
      model,
      x: x + col * (unit + CHIP_GAP),
      y: top,
      w: span * (unit + CHIP_GAP) - CHIP_GAP,
      h: s.chip.h,
      rail: top + s.chip.h + (s.chip.pitch - s.chip.h) / 2,
    };
  });
}

/** @param {"wide"|"dense"} style @param {Sizes} s @param {{w:number, h:number, fit:number}} world @param {Layout["lanes"]} lanes @param {Layout["boxes"]} boxes @param {number} x @param {number} hub @param {number|null} more room between the hubs; null stands one above the other */
export function finishLayout(style, s, world, lanes, boxes, x, hub, more) {
  const middle = lanes.length
    ? (lanes[0].y + lanes[lanes.length - 1].y + lanes[lanes.length - 1].h) / 2
    : world.h / 2;
  const userW = s.user.w * hub;
  const isColumn = more === null;
  const step = (style === "dense" ? 18 * hub : s.step) + (more ?? 0);
  /** @type {Layout["byKey"]} */
  const byKey = new Map();
  for (const box of boxes) {
    byKey.set(box.key, box);
    for (const chip of box.chips) byKey.set(chip.key, chip);
  }
  const rect = (/** @type {number} */ rx, /** @type {number} */ rw, /** @type {number} */ rh) => ({
    x: rx,
    y: middle - rh / 2,
    w: rw,
    h: rh,
  });
  return {
    style,
    ...world,
    hub,
    lanes,
    boxes,
    byKey,
    user: isColumn
      ? { x, y: middle - (s.router.h / 2 + 30 + s.user.h) * hub, w: userW, h: s.user.h * hub }
      : rect(x, userW, s.user.h * hub),
    router: rect(isColumn ? x : x + userW + step, s.router.w * hub, s.router.h * hub),
  };
}
