/** Each edge: a cubic curve, then straight pieces in the gutters. */

import { CHIP_GAP } from "./sizes.js";

/** @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 @param {number} [bend] */
function bezier(x0, y0, x1, y1, bend = 0.5) {
  const dx = (x1 - x0) * bend;
  return [x0, y0, x0 + dx, y0, x1 - dx, y1, x1, y1];
}

/** @param {Rect} user @param {Rect} router @returns {Path} */
export function routerEdge(user, router) {
  if (user.x + user.w <= router.x)
    return {
      curve: bezier(user.x + user.w, user.y + user.h / 2, router.x, router.y + router.h / 2),
      line: [],
    };
  const x = user.x + user.w / 2;
  const [y0, y1] = [user.y + user.h, router.y];
  return { curve: [x, y0, x, y0, x, y1, x, y1], line: [] };
}

/** @param {Rect} router @param {Box} box @param {number} laneX */
export function backendEdge(router, box, laneX) {
  const x0 = router.x + router.w;
  const y0 = router.y + router.h / 2;
  if (box.rail === null) {
    // It comes in level, so that the latency stands clear of other edges.
    const [dx, y1] = [box.x - x0, box.y + box.h / 2];
    return { curve: [x0, y0, x0 + dx * 0.42, y0, x0 + dx * 0.16, y1, box.x, y1], line: [] };
  }
  const drop = box.x + 8;
  return { curve: bezier(x0, y0, laneX, box.rail, 0.55), line: [drop, box.rail, drop, box.y] };
}

/** @param {Box} box @param {Chip} chip */
export function modelEdge(box, chip) {
  const isFirst = chip.x === box.chips[0].x;
  const middle = chip.y + chip.h / 2;
  const lane = chip.x - CHIP_GAP / 2;
  const line = isFirst ? [chip.x, middle] : [lane, chip.rail, lane, middle, chip.x, middle];
  const to = isFirst ? middle : chip.rail;
  if (box.rail === null)
    return { curve: bezier(box.x + box.w, box.y + box.h / 2, box.chips[0].x - 6, to), line };
  const [x, y] = [box.x + 5, box.y + box.h];
  return { curve: [x, y, x, y, x, to, x, to], line };
}

/** @param {Path} path @param {number} [steps] @returns {number[]} */
export function samplePath({ curve: c, line }, steps = 20) {
  const out = [];
  for (let i = 0; i <= steps; i += 1) {
    const t = i / steps;
    const u = 1 - t;
    const [a, b, d, e] = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
    out.push(a * c[0] + b * c[2] + d * c[4] + e * c[6], a * c[1] + b * c[3] + d * c[5] + e * c[7]);
  }
  out.push(...line);
  return out;
}

/** How strongly a part is drawn: faintly where something else is highlighted or found. */
export const DIM_ALPHA = 0.14;

/** @param {Scene} scene @param {string} key */
export const strength = ({ highlighted, matches }, key) =>
  (highlighted && !highlighted.has(key)) || (matches && !highlighted && key.length > 1 && !matches.has(key))
    ? DIM_ALPHA
    : 1;

/** Whether something of it is to be seen. @param {Scene} scene @param {Rect} rect */
export function inView({ camera: { k, x, y }, view }, rect) {
  return (
    rect.x * k + x < view.w + 20 &&
    (rect.x + rect.w) * k + x > -20 &&
    rect.y * k + y < view.h + 20 &&
    (rect.y + rect.h) * k + y > -20
  );
}
