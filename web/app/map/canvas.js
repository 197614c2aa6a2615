/** Sharp canvases and common shapes. */

export const dpr = () => Math.min(2, window.devicePixelRatio || 1);

/** A wiped canvas in CSS pixels. @param {HTMLCanvasElement} canvas @param {number} w @param {number} h */
export function penOf(canvas, w, h) {
  const ratio = dpr();
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(h * ratio);
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h}px`;
  const pen = /** @type {Pen} */ (canvas.getContext("2d"));
  pen.scale(ratio, ratio);
  return pen;
}

/** @param {Pen} pen @param {number} x @param {number} y @param {number} r */
export function diamond(pen, x, y, r) {
  pen.moveTo(x, y - r);
  for (const [dx, dy] of [
    [r, 0],
    [0, r],
    [-r, 0],
  ])
    pen.lineTo(x + dx, y + dy);
  pen.closePath();
}

/** @param {Pen} pen @param {number[]} points */
export function along(pen, points) {
  pen.moveTo(points[0], points[1]);
  for (let i = 2; i < points.length; i += 2) pen.lineTo(points[i], points[i + 1]);
}
