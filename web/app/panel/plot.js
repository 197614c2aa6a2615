/** The latency plot, with gaps where nothing is known. */
import { PALETTES } from "../map/colours.js";
import { along, penOf } from "../map/canvas.js";
import { FONT, ms } from "../core/format.js";

/** @param {HTMLCanvasElement} canvas @param {number[]} values milliseconds, oldest first; NaN for unknown @param {Theme} theme */
export function plot(canvas, values, theme) {
  const palette = PALETTES[theme];
  const [w, h] = [canvas.parentElement?.clientWidth ? canvas.parentElement.clientWidth - 36 : 280, 84];
  const pen = penOf(canvas, w, h);
  const known = values.filter((v) => !Number.isNaN(v));
  const top = Math.max(1, ...known) * 1.15;
  const [left, right, low, high] = [2, w - 46, h - 16, 8];
  const x = (/** @type {number} */ i) => left + ((right - left) * i) / (values.length - 1);
  const y = (/** @type {number} */ v) => low - ((low - high) * v) / top;
  pen.font = `10.5px ${FONT}`;
  pen.fillStyle = palette.muted;
  pen.strokeStyle = palette.laneLine;
  pen.textBaseline = "middle";
  for (const v of known.length ? [0, Math.max(...known)] : [0]) {
    pen.beginPath();
    along(pen, [left, y(v), right, y(v)]);
    pen.stroke();
    pen.fillText(ms(v), right + 6, y(v));
  }
  pen.fillText("10 min ago", left, h - 5);
  pen.textAlign = "right";
  pen.fillText("now", right, h - 5);
  pen.strokeStyle = palette.accent;
  pen.lineWidth = 1.6;
  pen.lineJoin = "round";
  pen.beginPath();
  let on = false;
  values.forEach((v, i) => {
    if (Number.isNaN(v)) return void (on = false);
    if (on) pen.lineTo(x(i), y(v));
    else pen.moveTo(x(i), y(v));
    on = true;
  });
  pen.stroke();
  const last = values.length - 1;
  if (!Number.isNaN(values[last])) {
    pen.fillStyle = palette.accent;
    pen.beginPath();
    pen.arc(x(last), y(values[last]), 2.6, 0, 7);
    pen.fill();
  }
}
