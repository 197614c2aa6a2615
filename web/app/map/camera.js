/** `screen = world · k + (x, y)` */

export const K_MAX = 3;

/** @param {{w:number, h:number, fit:number}} world @param {Size} view */
export function fitCamera(world, view) {
  const k = Math.min(view.w / world.w, view.h / world.h, 1);
  return { k, x: (view.w - world.w * k) / 2, y: (view.h - world.h * k) / 2 };
}

/** @param {Camera} camera @param {number} factor @param {number} px @param {number} py @param {number} minScale */
export function zoomCamera(camera, factor, px, py, minScale) {
  const k = Math.max(minScale, Math.min(K_MAX, camera.k * factor));
  const f = k / camera.k;
  return { k, x: px - (px - camera.x) * f, y: py - (py - camera.y) * f };
}

/** @param {Camera} camera @param {Size} world @param {Size} view */
export function clampCamera({ k, x, y }, world, view) {
  const keep = 120;
  return {
    k,
    x: Math.min(view.w - keep, Math.max(keep - world.w * k, x)),
    y: Math.min(view.h - keep, Math.max(keep - world.h * k, y)),
  };
}

/** @param {Rect} rect @param {Size} view @param {number} maxScale @param {number} [margin] */
export function frameRect(rect, view, maxScale, margin = 28) {
  const k = Math.min((view.w - 2 * margin) / rect.w, (view.h - 2 * margin) / rect.h, maxScale);
  return { k, x: view.w / 2 - (rect.x + rect.w / 2) * k, y: view.h / 2 - (rect.y + rect.h / 2) * k };
}

/**
 * Move as little as needed to show a part of the world; of one too large, the left top.
 * @param {Camera} camera
 * @param {Rect} rect
 * @param {Size} view
 * @param {number} [margin]
 */
export function revealRect(camera, rect, view, margin = 16) {
  const shift = (/** @type {number} */ at, /** @type {number} */ size, /** @type {number} */ room) => {
    if (at < margin || size > room - 2 * margin) return margin - at;
    return at + size > room - margin ? room - margin - at - size : 0;
  };
  const { k } = camera;
  const dx = shift(rect.x * k + camera.x, rect.w * k, view.w);
  const dy = shift(rect.y * k + camera.y, rect.h * k, view.h);
  const inX = rect.x * k + camera.x >= margin - 1 && (rect.x + rect.w) * k + camera.x <= view.w - margin + 1;
  const inY = rect.y * k + camera.y >= margin - 1 && (rect.y + rect.h) * k + camera.y <= view.h - margin + 1;
  return { k, x: camera.x + (inX ? 0 : dx), y: camera.y + (inY ? 0 : dy) };
}

/** @param {Camera} a @param {Camera} b */
export const isSameCamera = (a, b) =>
  Math.abs(a.k - b.k) < 1e-4 && Math.abs(a.x - b.x) < 0.5 && Math.abs(a.y - b.y) < 0.5;

/** @param {Layout} layout @param {number} k */
export function hubsAt(layout, k) {
  const onScreen = Math.min(1.2, Math.max(0.86, k * layout.hub));
  const scale = onScreen / k;
  const f = scale / layout.hub;
  const around = (/** @type {Rect} */ r) => ({
    x: r.x + (r.w * (1 - f)) / 2,
    y: r.y + (r.h * (1 - f)) / 2,
    w: r.w * f,
    h: r.h * f,
  });
  return { user: around(layout.user), router: around(layout.router), scale };
}
