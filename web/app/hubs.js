/** Router and user shrink and grow less than the world, to stay legible. */

/** @param {Layout} layout @param {number} k */
export function hubsAt(layout, k) {
  const onScreen = Math.min(1.2, Math.max(0.86, k * layout.hub));
  const scale = onScreen / k;
  const f = scale / layout.hub;
  const around = (/** @type {Rect} */ r) =>
    ({ x: r.x + (r.w * (1 - f)) / 2, y: r.y + (r.h * (1 - f)) / 2, w: r.w * f, h: r.h * f });
  return { user: around(layout.user), router: around(layout.router), scale };
}
