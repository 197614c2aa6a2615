/** Sharp canvases and common shapes. */

export const pixelRatio = () => Math.min(2, window.devicePixelRatio || 1);

/** A wiped canvas in CSS pixels. @param {HTMLCanvasElement} canvas @param {number} w @param {number} h */
export function sizedContext(canvas, w, h) {
  const ratio = pixelRatio();
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(h * ratio);
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h}px`;
  const ctx = /** @type {Context2D} */ (canvas.getContext("2d"));
  // As the style of the page's text: widths of letters that no setting of the system rounds.
  ctx.textRendering = "geometricPrecision";
  ctx.scale(ratio, ratio);
  return ctx;
}

/** @param {Context2D} ctx @param {number} x @param {number} y @param {number} r */
export function diamond(ctx, x, y, r) {
  ctx.moveTo(x, y - r);
  for (const [dx, dy] of [
    [r, 0],
    [0, r],
    [-r, 0],
  ])
    ctx.lineTo(x + dx, y + dy);
  ctx.closePath();
}

/** @param {Context2D} ctx @param {number[]} points */
export function polyline(ctx, points) {
  ctx.moveTo(points[0], points[1]);
  for (let i = 2; i < points.length; i += 2) ctx.lineTo(points[i], points[i + 1]);
}
