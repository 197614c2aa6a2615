/** Far away: tiles and bars, no unhealthy one too small to see. */
import { LOCAL_ID } from "../core/local_models.js";
import { diamond } from "./canvas.js";
import { strength } from "./paths.js";

const MIN_MARK = 5;
/** What the engine of one of this machine's models stands for. @type {Partial<Record<LocalModel["state"], Status>>} */
const ENGINE_STATUS = { failed: "unhealthy", missing: "unhealthy", loading: "warming", waiting: "warming" };

/** @param {Context2D} ctx @param {Scene} scene @param {Box[]} boxes */
export function drawModelTiles(ctx, scene, boxes) {
  /** @type {Map<string, {fill:string, alpha:number, path:Path2D}>} */
  const batches = new Map();
  const { palette, cards, active, matches, highlighted } = scene;
  for (const box of boxes) {
    const backend = scene.shown.get(box.id);
    if (!backend) continue;
    for (const chip of box.chips) {
      if (cards.has(chip.key)) continue;
      const engine =
        box.id === LOCAL_ID
          ? (scene.local?.models.get(chip.model)?.state ?? "on-disk")
          : scene.mesh?.backends.get(box.id)?.details[chip.model]?.loaded === false
            ? "on-disk"
            : "ready";
      const status = ENGINE_STATUS[engine] ?? backend.status;
      const emphasized =
        active.has(chip.key) ||
        (highlighted?.has(chip.key) ?? false) ||
        (!highlighted && (matches?.has(chip.key) ?? false));
      const base = emphasized
        ? 1
        : status === "unhealthy"
          ? 0.8
          : status === "healthy"
            ? palette.quietModelAlpha
            : palette.quietModelAlpha + 0.1;
      const isFaint = backend.removed || scene.unused.has(chip.key) || engine === "on-disk";
      const alpha = base * strength(scene, chip.key) * (isFaint ? 0.3 : 1);
      const name = `${status}${alpha.toFixed(2)}`;
      let batch = batches.get(name);
      if (!batch) batches.set(name, (batch = { fill: palette.statuses[status], alpha, path: new Path2D() }));
      batch.path.rect(chip.x, chip.y, chip.w, chip.h);
    }
  }
  for (const { fill, alpha, path } of batches.values()) {
    ctx.globalAlpha = alpha;
    ctx.fillStyle = fill;
    ctx.fill(path);
  }
  ctx.globalAlpha = 1;
}

/** @param {Context2D} ctx @param {Scene} scene @param {Box[]} boxes */
export function drawBackendBars(ctx, scene, boxes) {
  const {
    palette,
    camera: { k },
  } = scene;
  const unhealthy = [];
  for (const box of boxes) {
    const backend = scene.shown.get(box.id);
    if (!backend) continue;
    ctx.globalAlpha = strength(scene, box.key) * (backend.removed ? 0.3 : 1);
    ctx.fillStyle = palette.statuses[backend.status];
    ctx.fillRect(box.x, box.y, box.w, box.h);
    if (backend.status === "unhealthy") unhealthy.push(box);
  }
  for (const box of unhealthy) {
    const r = Math.max(MIN_MARK / k, box.h / 2);
    const [x, y] = [box.x + box.w / 2, box.y + box.h / 2];
    ctx.globalAlpha = strength(scene, box.key);
    ctx.beginPath();
    diamond(ctx, x, y, r);
    ctx.fillStyle = palette.statuses.unhealthy;
    ctx.fill();
    ctx.strokeStyle = palette.ink;
    ctx.lineWidth = 1.2 / k;
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
