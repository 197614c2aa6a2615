/** The latency plot, with gaps where nothing is known. */
import { palette } from "../map/colours.js";
import { polyline, sizedContext } from "../map/canvas.js";
import { FONT, formatMs } from "../core/format.js";

/** @param {HTMLCanvasElement} canvas @param {number[]} values milliseconds, oldest first; NaN for unknown */
export function drawPlot(canvas, values) {
  const { muted, laneLine, accent } = palette();
  const [w, h] = [canvas.parentElement?.clientWidth ? canvas.parentElement.clientWidth - 36 : 280, 84];
  const ctx = sizedContext(canvas, w, h);
  const known = values.filter((v) => !Number.isNaN(v));
  const top = Math.max(1, ...known) * 1.15;
  const [left, right, low, high] = [2, w - 46, h - 16, 8];
  const x = (/** @type {number} */ i) => left + ((right - left) * i) / (values.length - 1);
  const y = (/** @type {number} */ v) => low - ((low - high) * v) / top;
  ctx.font = `10.5px ${FONT}`;
  ctx.fillStyle = muted;
  ctx.strokeStyle = laneLine;
  ctx.textBaseline = "middle";
  for (const v of known.length ? [0, Math.max(...known)] : [0]) {
    ctx.beginPath();
    polyline(ctx, [left, y(v), right, y(v)]);
    ctx.stroke();
    ctx.fillText(formatMs(v), right + 6, y(v));
  }
  ctx.fillText("10 min ago", left, h - 5);
  ctx.textAlign = "right";
  ctx.fillText("now", right, h - 5);
  ctx.strokeStyle = accent;
  ctx.lineWidth = 1.6;
  // Round ends make a dot of a value between gaps.
  ctx.lineJoin = ctx.lineCap = "round";
  ctx.beginPath();
  let on = false;
  values.forEach((v, i) => {
    if (Number.isNaN(v)) return void (on = false);
    if (!on) ctx.moveTo(x(i), y(v));
    ctx.lineTo(x(i), y(v));
    on = true;
  });
  ctx.stroke();
}
