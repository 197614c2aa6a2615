/** Far away: tiles and bars, no unhealthy one too small to see. */
import { diamond } from "./canvas.js";
import { strength } from "./edges.js";

const MARK = 5;

/** @param {Pen} pen @param {Scene} scene @param {Box[]} boxes */
export function drawTiles(pen, scene, boxes) {
  /** @type {Map<string, {fill:string, alpha:number, path:Path2D}>} */
  const heaps = new Map();
  const { palette, cards, hot, found, lit } = scene;
  for (const box of boxes) {
    const shown = scene.shown.get(box.id);
    if (!shown) continue;
    for (const chip of box.chips) {
      if (cards.has(chip.key)) continue;
      const loud =
        hot.has(chip.key) || (lit?.has(chip.key) ?? false) || (!lit && (found?.has(chip.key) ?? false));
      const base = loud
        ? 1
        : shown.look === "unhealthy"
          ? 0.8
          : shown.look === "healthy"
            ? palette.tile
            : palette.tile + 0.1;
      const alpha = base * strength(scene, chip.key) * (shown.gone ? 0.3 : 1);
      const name = `${shown.look}${alpha.toFixed(2)}`;
      let heap = heaps.get(name);
      if (!heap) heaps.set(name, (heap = { fill: palette.looks[shown.look], alpha, path: new Path2D() }));
      heap.path.rect(chip.x, chip.y, chip.w, chip.h);
    }
  }
  for (const { fill, alpha, path } of heaps.values()) {
    pen.globalAlpha = alpha;
    pen.fillStyle = fill;
    pen.fill(path);
  }
  pen.globalAlpha = 1;
}

/** @param {Pen} pen @param {Scene} scene @param {Box[]} boxes */
export function drawFar(pen, scene, boxes) {
  const {
    palette,
    camera: { k },
  } = scene;
  const bad = [];
  for (const box of boxes) {
    const shown = scene.shown.get(box.id);
    if (!shown) continue;
    pen.globalAlpha = strength(scene, box.key) * (shown.gone ? 0.3 : 1);
    pen.fillStyle = palette.looks[shown.look];
    pen.fillRect(box.x, box.y, box.w, box.h);
    if (shown.look === "unhealthy") bad.push(box);
  }
  for (const box of bad) {
    const r = Math.max(MARK / k, box.h / 2);
    const [x, y] = [box.x + box.w / 2, box.y + box.h / 2];
    pen.globalAlpha = strength(scene, box.key);
    pen.beginPath();
    diamond(pen, x, y, r);
    pen.fillStyle = palette.looks.unhealthy;
    pen.fill();
    pen.strokeStyle = palette.ink;
    pen.lineWidth = 1.2 / k;
    pen.stroke();
  }
  pen.globalAlpha = 1;
}
