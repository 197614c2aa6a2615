/** The lower canvas: lanes, edges, labels. */
import { polyline, diamond } from "./canvas.js";
import { backendEdge, inView, modelEdge, routerEdge, samplePath, strength } from "./paths.js";
import { measurePath, pointAt } from "./particles.js";
import { OFFERED_DASH, OTHER_USER, STATUS_STYLES } from "./status_styles.js";
import { FONT, formatMs } from "../core/format.js";
import { drawBackendBars, drawModelTiles } from "./overview.js";

/** For a longer queue the number on the card says more. */
const DOTS_MOST = 8;

/** @param {Context2D} ctx @param {Scene} scene */
export function drawEdges(ctx, scene) {
  const { camera, pixelRatio, view, layout } = scene;
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, view.w * pixelRatio, view.h * pixelRatio);
  ctx.setTransform(
    camera.k * pixelRatio,
    0,
    0,
    camera.k * pixelRatio,
    camera.x * pixelRatio,
    camera.y * pixelRatio,
  );
  ctx.lineJoin = ctx.lineCap = "round";
  for (const lane of layout.lanes) drawLane(ctx, scene, lane);
  const boxes = layout.boxes.filter((box) => inView(scene, box.cell));
  if (scene.level !== "far") for (const box of boxes) drawModelEdges(ctx, scene, box);
  drawModelTiles(ctx, scene, boxes);
  drawBackendEdges(ctx, scene);
  drawRouterEdge(ctx, scene);
  if (scene.level === "far") drawBackendBars(ctx, scene, boxes);
  else if (scene.queues.size) for (const box of boxes) drawWaiting(ctx, scene, box);
  ctx.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
  if (layout.style === "wide") for (const box of boxes) drawLatencyLabel(ctx, scene, box);
}

/** @param {Context2D} ctx @param {Scene} scene @param {Rect} lane */
function drawLane(ctx, { palette, camera }, lane) {
  ctx.beginPath();
  ctx.roundRect(lane.x, lane.y, lane.w, lane.h, 10 / Math.max(camera.k, 0.5));
  ctx.fillStyle = palette.lane;
  ctx.fill();
  ctx.strokeStyle = palette.laneLine;
  ctx.lineWidth = 1 / camera.k;
  ctx.stroke();
}

/** @param {Context2D} ctx @param {Path} path */
function trace(ctx, { curve: c, line }) {
  ctx.moveTo(c[0], c[1]);
  ctx.bezierCurveTo(c[2], c[3], c[4], c[5], c[6], c[7]);
  for (let i = 0; i < line.length; i += 2) ctx.lineTo(line[i], line[i + 1]);
}

/** @param {Context2D} ctx @param {Scene} scene @param {()=>void} shape @param {{status:Status, alpha:number, width:number, glow:boolean, dash?:number[]}} style */
function stroke(
  ctx,
  { palette, camera: { k } },
  shape,
  { status, alpha, width, glow, dash = STATUS_STYLES[status].dash },
) {
  const unit = Math.max(k, 0.55) / k;
  ctx.strokeStyle = palette.statuses[status];
  if (glow) {
    for (const [glowWidth, glowAlpha] of [
      [8, 0.07],
      [4.5, 0.13],
    ]) {
      ctx.globalAlpha = alpha * glowAlpha;
      ctx.lineWidth = glowWidth * unit;
      ctx.beginPath();
      shape();
      ctx.stroke();
    }
  }
  ctx.globalAlpha = alpha;
  ctx.lineWidth = width * unit;
  ctx.setLineDash(dash.map((d) => d * unit));
  ctx.beginPath();
  shape();
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.globalAlpha = 1;
}

/** @param {Context2D} ctx @param {Scene} scene */
function drawRouterEdge(ctx, scene) {
  const { user, router } = scene.hubs;
  const busy = scene.active.size > 0;
  const path = routerEdge(user, router);
  stroke(ctx, scene, () => trace(ctx, path), {
    status: "healthy",
    alpha: busy || scene.highlighted ? 1 : 0.6,
    width: busy ? 2.2 : 1.5,
    glow: busy || scene.highlighted !== null,
  });
}

/** @param {Context2D} ctx @param {Scene} scene */
function drawBackendEdges(ctx, scene) {
  const { layout, hubs } = scene;
  const laneX = new Map(layout.lanes.map((lane) => [lane.ring, lane.x]));
  const path = (/** @type {Box} */ box) => backendEdge(hubs.router, box, laneX.get(box.ring) ?? 0);
  if (layout.style === "dense") drawBusLines(ctx, scene, path);
  // What is emphasized lies above the rest.
  for (const isEmphasized of [false, true])
    for (const box of layout.boxes) {
      const backend = scene.shown.get(box.id);
      const isHighlighted = scene.highlighted?.has(box.key) ?? false;
      const isActive = scene.activeBackends.has(box.id);
      if (!backend || (isActive || isHighlighted) !== isEmphasized) continue;
      const { status } = backend;
      const alpha = isEmphasized
        ? scene.highlighted && !isHighlighted
          ? 0.3
          : 1
        : (backend.removed ? 0.25 : status === "healthy" ? 0.62 : 0.95) *
          (strength(scene, box.key) === 1 ? 1 : 0.16);
      const width = isHighlighted ? 2.2 : isActive ? 1.7 : 1.5;
      const style = { status, alpha, width, glow: isEmphasized && alpha === 1 };
      const way = path(box);
      const [x, y, toX, toY] = way.line;
      if (isEmphasized || box.rail === null) stroke(ctx, scene, () => trace(ctx, way), style);
      else if (scene.level !== "far")
        stroke(ctx, scene, () => (ctx.moveTo(x, y), ctx.lineTo(toX, toY)), style);
      if (box.rail === null) drawEdgeMarker(ctx, scene, box, status, alpha);
      if (isActive && scene.reducedMotion) drawChevrons(ctx, scene, way, status);
    }
}

/** @param {Context2D} ctx @param {Scene} scene @param {(box:Box)=>Path} path */
function drawBusLines(ctx, scene, path) {
  const rows = new Map();
  for (const box of scene.layout.boxes) rows.set(box.rail, box);
  ctx.strokeStyle = scene.palette.line;
  ctx.lineWidth = 1 / scene.camera.k;
  ctx.globalAlpha = scene.highlighted ? 0.35 : 0.9;
  ctx.beginPath();
  for (const box of rows.values()) {
    const { curve, line } = path(box);
    trace(ctx, { curve, line: line.slice(0, 2) });
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
}

/** @param {Context2D} ctx @param {Scene} scene @param {Box} box @param {Status} status @param {number} alpha */
function drawEdgeMarker(ctx, { palette, camera: { k } }, box, status, alpha) {
  const s = Math.max(1, 0.7 / k);
  const [x, y] = [box.x - 6.5 * s, box.y + box.h / 2];
  ctx.globalAlpha = Math.min(1, alpha + 0.2);
  ctx.fillStyle = ctx.strokeStyle = palette.statuses[status];
  ctx.lineWidth = 1.6 * s;
  ctx.beginPath();
  if (status === "healthy") {
    polyline(ctx, [x - 2 * s, y - 4 * s, x + 4 * s, y, x - 2 * s, y + 4 * s]);
    ctx.fill();
  } else if (status === "unhealthy") {
    for (const d of [-3.5 * s, 3.5 * s]) polyline(ctx, [x - 3.5 * s, y - d, x + 3.5 * s, y + d]);
    ctx.stroke();
  } else if (status === "disabled") {
    polyline(ctx, [x, y - 5 * s, x, y + 5 * s]);
    ctx.stroke();
  } else if (status === "warming") {
    diamond(ctx, x, y, 4.2 * s);
    ctx.fill();
  } else {
    ctx.arc(x, y, 3.4 * s, 0, 7);
    ctx.fillStyle = palette.lane;
    ctx.fill();
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

/** @param {Context2D} ctx @param {Scene} scene @param {Box} box */
function drawModelEdges(ctx, scene, box) {
  const backend = scene.shown.get(box.id);
  if (!backend || !box.chips.length || scene.camera.k * 22 < 9) return;
  const dim = strength(scene, box.key);
  const style = {
    status: backend.status,
    alpha: (backend.removed ? 0.2 : 0.5) * dim,
    width: 1.1,
    glow: false,
  };
  const offered = { ...style, status: /** @type {Status} */ ("disabled"), dash: OFFERED_DASH };
  for (const isUnused of [false, true]) {
    const chips = box.chips.filter((chip) => scene.unused.has(chip.key) === isUnused);
    const shape = () => chips.forEach((chip) => trace(ctx, modelEdge(box, chip)));
    if (chips.length) stroke(ctx, scene, shape, isUnused ? offered : style);
  }
  for (const chip of box.chips) {
    const isActive = scene.active.has(chip.key);
    const isHighlighted = scene.highlighted?.has(chip.key) ?? false;
    if (!isActive && !isHighlighted) continue;
    stroke(ctx, scene, () => trace(ctx, modelEdge(box, chip)), {
      ...(scene.unused.has(chip.key) ? offered : style),
      alpha: scene.highlighted && !isHighlighted ? 0.25 : 0.85,
      width: isHighlighted ? 1.8 : 1.4,
      glow: isActive,
    });
  }
}

/** Those who wait stand before the model's door, on the line to it. @param {Context2D} ctx @param {Scene} scene @param {Box} box */
function drawWaiting(ctx, scene, box) {
  for (const chip of box.chips) {
    const count = scene.queues.get(chip.key)?.queue?.waiting;
    if (!count) continue;
    const path = measurePath(samplePath(modelEdge(box, chip)));
    const length = path[path.length - 1];
    ctx.fillStyle = scene.palette.accent;
    ctx.globalAlpha = strength(scene, chip.key);
    for (let i = 0; i < Math.min(count, DOTS_MOST); i += 1) {
      const [x, y] = pointAt(path, Math.max(0, 1 - (5 + 8 * i) / length));
      ctx.beginPath();
      ctx.arc(x, y, 3.4, 0, 7);
      ctx.fill();
    }
  }
  ctx.globalAlpha = 1;
}

/** @param {Context2D} ctx @param {Scene} scene @param {Box} box */
function drawLatencyLabel(ctx, scene, box) {
  const {
    camera: { k, x, y },
    palette,
    hubs,
  } = scene;
  const backend = scene.shown.get(box.id);
  if (!backend || k < 0.6 || backend.removed) return;
  const rate = scene.rates.get(box.id) ?? 0;
  const statusText = {
    healthy: formatMs(backend.latency),
    warming: "warming",
    unhealthy: backend.reason.replaceAll("-", " ") || "unhealthy",
    unknown: "",
    disabled: backend.reason === OTHER_USER ? "another user’s" : "off",
  }[backend.status];
  const text = rate > 0 ? `${statusText} · ${rate.toFixed(1)}/s` : statusText;
  if (!text || text === "–") return;
  ctx.font = `600 ${Math.max(10.5, 11 * Math.min(k, 1.4))}px ${FONT}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  const right = box.x * k + x - 17 * Math.max(1, k);
  const cy = (box.y + box.h / 2) * k + y;
  const w = ctx.measureText(text).width;
  // The router's card would cover it.
  if (right - w < (hubs.router.x + hubs.router.w) * k + x) return;
  ctx.globalAlpha = strength(scene, box.key);
  ctx.fillStyle = palette.lane;
  ctx.beginPath();
  ctx.roundRect(right - w - 6, cy - 8.5, w + 12, 17, 8.5);
  ctx.fill();
  ctx.fillStyle = backend.status === "healthy" ? palette.muted : palette.statuses[backend.status];
  ctx.fillText(text, right, cy + 0.5);
  ctx.globalAlpha = 1;
}

/** @param {Context2D} ctx @param {Scene} scene @param {Path} path @param {Status} status */
function drawChevrons(ctx, { palette, camera: { k } }, path, status) {
  const path_ = samplePath(path, 12);
  const s = Math.max(1, 0.8 / k) * 4.5;
  ctx.strokeStyle = palette.statuses[status];
  ctx.lineWidth = 2 / Math.max(k, 0.6);
  ctx.beginPath();
  for (const i of [4, 6, 8]) {
    const [x, y] = [path_[2 * i], path_[2 * i + 1]];
    const a = Math.atan2(path_[2 * i + 3] - y, path_[2 * i + 2] - x);
    for (const side of [2.5, -2.5])
      polyline(ctx, [x, y, x + Math.cos(a + side) * s, y + Math.sin(a + side) * s]);
  }
  ctx.stroke();
}
