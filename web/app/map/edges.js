/** The lower canvas: lanes, edges, labels. */
import { along, diamond } from "./canvas.js";
import { branch, hubPath, points, trunk } from "./paths.js";
import { LOOKS } from "./status_styles.js";
import { FONT, ms } from "../core/format.js";
import { drawFar, drawTiles } from "./overview.js";

export const DIM = 0.14;

/** @param {Scene} scene @param {string} key */
export const strength = ({ lit, found }, key) =>
  (lit && !lit.has(key)) || (found && !lit && key.length > 1 && !found.has(key)) ? DIM : 1;

/** @param {Pen} pen @param {Scene} scene */
export function drawEdges(pen, scene) {
  const { camera, dpr, view, layout } = scene;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, view.w * dpr, view.h * dpr);
  pen.setTransform(camera.k * dpr, 0, 0, camera.k * dpr, camera.x * dpr, camera.y * dpr);
  pen.lineJoin = pen.lineCap = "round";
  for (const lane of layout.lanes) drawLane(pen, scene, lane);
  const boxes = layout.boxes.filter((box) => inView(scene, box.cell));
  if (scene.level !== "far") for (const box of boxes) drawBranches(pen, scene, box);
  drawTiles(pen, scene, boxes);
  drawTrunks(pen, scene);
  drawHub(pen, scene);
  if (scene.level === "far") drawFar(pen, scene, boxes);
  pen.setTransform(dpr, 0, 0, dpr, 0, 0);
  if (layout.style === "wide") for (const box of boxes) drawLabel(pen, scene, box);
}

/** @param {Scene} scene @param {Rect} rect */
export function inView({ camera: { k, x, y }, view }, rect) {
  return (
    rect.x * k + x < view.w + 20 &&
    (rect.x + rect.w) * k + x > -20 &&
    rect.y * k + y < view.h + 20 &&
    (rect.y + rect.h) * k + y > -20
  );
}

/** @param {Pen} pen @param {Scene} scene @param {Rect} lane */
function drawLane(pen, { palette, camera }, lane) {
  pen.beginPath();
  pen.roundRect(lane.x, lane.y, lane.w, lane.h, 10 / Math.max(camera.k, 0.5));
  pen.fillStyle = palette.lane;
  pen.fill();
  pen.strokeStyle = palette.laneLine;
  pen.lineWidth = 1 / camera.k;
  pen.stroke();
}

/** @param {Pen} pen @param {Path} path @param {boolean} [straight] */
function trace(pen, { curve: c, line }, straight = false) {
  pen.moveTo(c[straight ? 6 : 0], c[straight ? 7 : 1]);
  if (!straight) pen.bezierCurveTo(c[2], c[3], c[4], c[5], c[6], c[7]);
  for (let i = 0; i < line.length; i += 2) pen.lineTo(line[i], line[i + 1]);
}

/** @param {Pen} pen @param {Scene} scene @param {()=>void} shape @param {{look:Look, alpha:number, width:number, glow:boolean}} style */
function stroke(pen, { palette, camera: { k } }, shape, { look, alpha, width, glow }) {
  const thin = Math.max(k, 0.55) / k;
  pen.strokeStyle = palette.looks[look];
  if (glow) {
    for (const [wide, faint] of [
      [8, 0.07],
      [4.5, 0.13],
    ]) {
      pen.globalAlpha = alpha * faint;
      pen.lineWidth = wide * thin;
      pen.beginPath();
      shape();
      pen.stroke();
    }
  }
  pen.globalAlpha = alpha;
  pen.lineWidth = width * thin;
  pen.setLineDash(LOOKS[look].dash.map((d) => d * thin));
  pen.beginPath();
  shape();
  pen.stroke();
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

/** @param {Pen} pen @param {Scene} scene */
function drawHub(pen, scene) {
  const { user, router } = scene.hubs;
  const busy = scene.hot.size > 0;
  const path = hubPath(user, router);
  stroke(pen, scene, () => trace(pen, path), {
    look: "healthy",
    alpha: busy || scene.lit ? 1 : 0.6,
    width: busy ? 2.2 : 1.5,
    glow: busy || scene.lit !== null,
  });
}

/** @param {Pen} pen @param {Scene} scene */
function drawTrunks(pen, scene) {
  const { layout, hubs } = scene;
  const laneX = new Map(layout.lanes.map((lane) => [lane.ring, lane.x]));
  const path = (/** @type {Box} */ box) => trunk(hubs.router, box, laneX.get(box.ring) ?? 0);
  if (layout.style === "stacked") drawBuses(pen, scene, path);
  const loud = [];
  for (const box of layout.boxes) {
    const shown = scene.shown.get(box.id);
    if (!shown) continue;
    const strong = scene.hotBoxes.has(box.id) || (scene.lit?.has(box.key) ?? false);
    if (strong) {
      loud.push(box);
      continue;
    }
    const dim = strength(scene, box.key);
    const p = path(box);
    const alpha = (shown.gone ? 0.25 : shown.look === "healthy" ? 0.62 : 0.95) * (dim === 1 ? 1 : 0.16);
    if (box.rail === null)
      stroke(pen, scene, () => trace(pen, p), { look: shown.look, alpha, width: 1.5, glow: false });
    else if (scene.level !== "far")
      stroke(
        pen,
        scene,
        () => {
          pen.moveTo(p.line[0], p.line[1]);
          pen.lineTo(p.line[2], p.line[3]);
        },
        { look: shown.look, alpha, width: 1.5, glow: false },
      );
    if (box.rail === null) drawEnd(pen, scene, box, shown.look, alpha);
  }
  for (const box of loud) {
    const look = scene.shown.get(box.id)?.look ?? "unknown";
    const alpha = scene.lit && !scene.lit.has(box.key) ? 0.3 : 1;
    const p = path(box);
    stroke(pen, scene, () => trace(pen, p), {
      look,
      alpha,
      width: scene.lit?.has(box.key) ? 2.2 : 1.7,
      glow: alpha === 1,
    });
    if (box.rail === null) drawEnd(pen, scene, box, look, alpha);
    if (scene.still && scene.hotBoxes.has(box.id)) drawChevrons(pen, scene, p, look);
  }
}

/** @param {Pen} pen @param {Scene} scene @param {(box:Box)=>Path} path */
function drawBuses(pen, scene, path) {
  const rows = new Map();
  for (const box of scene.layout.boxes) rows.set(box.rail, box);
  pen.strokeStyle = scene.palette.line;
  pen.lineWidth = 1 / scene.camera.k;
  pen.globalAlpha = scene.lit ? 0.35 : 0.9;
  pen.beginPath();
  for (const box of rows.values()) {
    const { curve, line } = path(box);
    trace(pen, { curve, line: line.slice(0, 2) });
  }
  pen.stroke();
  pen.globalAlpha = 1;
}

/** @param {Pen} pen @param {Scene} scene @param {Box} box @param {Look} look @param {number} alpha */
function drawEnd(pen, { palette, camera: { k } }, box, look, alpha) {
  const s = Math.max(1, 0.7 / k);
  const [x, y] = [box.x - 6.5 * s, box.y + box.h / 2];
  pen.globalAlpha = Math.min(1, alpha + 0.2);
  pen.fillStyle = pen.strokeStyle = palette.looks[look];
  pen.lineWidth = 1.6 * s;
  pen.beginPath();
  if (look === "healthy") {
    along(pen, [x - 2 * s, y - 4 * s, x + 4 * s, y, x - 2 * s, y + 4 * s]);
    pen.fill();
  } else if (look === "unhealthy") {
    for (const d of [-3.5 * s, 3.5 * s]) along(pen, [x - 3.5 * s, y - d, x + 3.5 * s, y + d]);
    pen.stroke();
  } else if (look === "disabled") {
    along(pen, [x, y - 5 * s, x, y + 5 * s]);
    pen.stroke();
  } else if (look === "warming") {
    diamond(pen, x, y, 4.2 * s);
    pen.fill();
  } else {
    pen.arc(x, y, 3.4 * s, 0, 7);
    pen.fillStyle = palette.lane;
    pen.fill();
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

/** @param {Pen} pen @param {Scene} scene @param {Box} box */
function drawBranches(pen, scene, box) {
  const shown = scene.shown.get(box.id);
  if (!shown || !box.chips.length || scene.camera.k * 22 < 9) return;
  const dim = strength(scene, box.key);
  const style = { look: shown.look, alpha: (shown.gone ? 0.2 : 0.5) * dim, width: 1.1, glow: false };
  stroke(
    pen,
    scene,
    () => {
      for (const chip of box.chips) trace(pen, branch(box, chip));
    },
    style,
  );
  for (const chip of box.chips) {
    const hot = scene.hot.has(chip.key);
    const chosen = scene.lit?.has(chip.key) ?? false;
    if (!hot && !chosen) continue;
    stroke(pen, scene, () => trace(pen, branch(box, chip)), {
      look: shown.look,
      alpha: scene.lit && !chosen ? 0.25 : 0.85,
      width: chosen ? 1.8 : 1.4,
      glow: hot,
    });
  }
}

/** @param {Pen} pen @param {Scene} scene @param {Box} box */
function drawLabel(pen, scene, box) {
  const {
    camera: { k, x, y },
    palette,
  } = scene;
  const shown = scene.shown.get(box.id);
  if (!shown || k < 0.6 || shown.gone) return;
  const rate = scene.still ? scene.rate(box.id) : 0;
  const says = {
    healthy: ms(shown.latency),
    warming: "warming",
    unhealthy: shown.reason.replaceAll("-", " ") || "unhealthy",
    unknown: "",
    disabled: "off",
  }[shown.look];
  const text = rate > 0 ? `${says} · ${rate.toFixed(1)}/s` : says;
  if (!text || text === "–") return;
  pen.font = `600 ${Math.max(10.5, 11 * Math.min(k, 1.4))}px ${FONT}`;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const right = box.x * k + x - 17 * Math.max(1, k);
  const cy = (box.y + box.h / 2) * k + y;
  const w = pen.measureText(text).width;
  pen.globalAlpha = strength(scene, box.key);
  pen.fillStyle = palette.lane;
  pen.beginPath();
  pen.roundRect(right - w - 6, cy - 8.5, w + 12, 17, 8.5);
  pen.fill();
  pen.fillStyle = shown.look === "healthy" ? palette.muted : palette.looks[shown.look];
  pen.fillText(text, right, cy + 0.5);
  pen.globalAlpha = 1;
}

/** @param {Pen} pen @param {Scene} scene @param {Path} path @param {Look} look */
function drawChevrons(pen, { palette, camera: { k } }, path, look) {
  const p = points(path, 12);
  const s = Math.max(1, 0.8 / k) * 4.5;
  pen.strokeStyle = palette.looks[look];
  pen.lineWidth = 2 / Math.max(k, 0.6);
  pen.beginPath();
  for (const i of [4, 6, 8]) {
    const [x, y] = [p[2 * i], p[2 * i + 1]];
    const a = Math.atan2(p[2 * i + 3] - y, p[2 * i + 2] - x);
    for (const side of [2.5, -2.5])
      along(pen, [x, y, x + Math.cos(a + side) * s, y + Math.sin(a + side) * s]);
  }
  pen.stroke();
}
