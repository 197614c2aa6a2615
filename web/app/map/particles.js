/**
 * One particle for each real request, a smaller one for its answer, a diamond for a failure. The loop runs while
 * something flies, at most 30 frames a second. A measured path is x, y, length so far for each point.
 */

import { diamond, sizedContext } from "./canvas.js";

const FRAME_MS = 1000 / 30;
/** How much sooner than its frame the timer rings: for screens that wait for their own frame. */
const HEADSTART_MS = 2;
const MAX_PARTICLES = 260;
const SPRITE_RADIUS = 10;

export class Particles {
  /** @param {HTMLCanvasElement} canvas @param {()=>Camera} camera */
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.camera = camera;
    /** @type {Particle[]} */
    this.particles = [];
    this.frame = this.timer = 0;
    this.lastFrameAt = 0;
    /** The governor lengthens it. */
    this.frameMs = FRAME_MS;
    this.drawCost = 0;
    /** @type {Record<string, HTMLCanvasElement>} */
    this.sprites = {};
  }

  /** @param {Palette} palette */
  setPalette({ statuses, ink }) {
    this.sprites = {
      there: sprite(statuses.healthy, ink, 2.6),
      back: sprite(statuses.healthy, statuses.healthy, 1.9),
      failed: sprite(statuses.unhealthy, statuses.unhealthy, 4.2, true),
    };
  }

  /** @param {Float32Array} path @param {{isResponse:boolean, isFailure:boolean, delay:number, durationMs:number, now:number}} flight milliseconds */
  add(path, { isResponse, isFailure, delay, durationMs, now }) {
    if (this.particles.length >= MAX_PARTICLES) this.particles.shift();
    this.particles.push({ path, startMs: now + delay, durationMs, isResponse, isFailure });
    this.schedule();
  }

  /** Ask for the next frame when it is due: one in which nothing is drawn costs almost as much as the drawing. */
  schedule() {
    if (this.frame || this.timer) return;
    const ask = () => {
      this.timer = 0;
      this.frame = requestAnimationFrame(() => this.tick());
    };
    const wait = this.lastFrameAt + this.frameMs - HEADSTART_MS - performance.now();
    if (wait > 1) this.timer = window.setTimeout(ask, wait);
    else ask();
  }

  clear() {
    this.particles = [];
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.frame = this.timer = 0;
    this.erase();
  }

  tick() {
    this.frame = 0;
    try {
      const start = (this.lastFrameAt = performance.now());
      this.draw(start);
      this.drawCost = this.drawCost * 0.9 + (performance.now() - start) * 0.1;
      this.frameMs = this.drawCost > 9 ? FRAME_MS * 2 : FRAME_MS;
    } finally {
      // A fault in one frame must not end the loop for good.
      if (this.particles.length) this.schedule();
    }
  }

  erase() {
    this.canvas.getContext("2d")?.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** @param {number} now */
  draw(now) {
    const ctx = this.canvas.getContext("2d");
    if (!ctx) return;
    this.erase();
    const { k, x, y } = this.camera();
    let remaining = 0;
    for (const p of this.particles) {
      const age = (now - p.startMs) / p.durationMs;
      if (age >= 1) continue;
      this.particles[remaining++] = p;
      if (age < 0) continue;
      const eased = age * age * (3 - 2 * age) * 0.35 + age * 0.65;
      const point = pointAt(p.path, p.isResponse ? 1 - eased : eased);
      const px = Math.round(point[0] * k + x - SPRITE_RADIUS);
      const py = Math.round(point[1] * k + y - SPRITE_RADIUS);
      if (px < -40 || py < -40 || px > this.canvas.width || py > this.canvas.height) continue;
      ctx.drawImage(
        p.isFailure ? this.sprites.failed : p.isResponse ? this.sprites.back : this.sprites.there,
        px,
        py,
        2 * SPRITE_RADIUS,
        2 * SPRITE_RADIUS,
      );
    }
    this.particles.length = remaining;
    if (!remaining) this.erase();
  }
}

/** @param {number[]} points x y x y … */
export function measurePath(points) {
  const out = new Float32Array((points.length / 2) * 3);
  let length = 0;
  for (let i = 0; i < points.length / 2; i += 1) {
    if (i) length += Math.hypot(points[2 * i] - points[2 * i - 2], points[2 * i + 1] - points[2 * i - 1]);
    out.set([points[2 * i], points[2 * i + 1], length], i * 3);
  }
  return out;
}

/** @param {Float32Array} path @param {number} fraction @returns {[number, number]} */
export function pointAt(path, fraction) {
  const last = path.length - 3;
  const target = path[last + 2] * fraction;
  let low = 0;
  let high = last / 3;
  while (high - low > 1) {
    const mid = (low + high) >> 1;
    if (path[mid * 3 + 2] <= target) low = mid;
    else high = mid;
  }
  const [a, b] = [low * 3, Math.min(last, low * 3 + 3)];
  const span = path[b + 2] - path[a + 2];
  const f = span > 0 ? (target - path[a + 2]) / span : 0;
  return [path[a] + (path[b] - path[a]) * f, path[a + 1] + (path[b + 1] - path[a + 1]) * f];
}

/** @param {number|null} latency */
export const flightDuration = (latency) => 650 + Math.min(1900, 34 * Math.sqrt(Math.max(0, latency ?? 50)));

/** @param {string} colour @param {string} core @param {number} r @param {boolean} [isFailure] */
function sprite(colour, core, r, isFailure) {
  const canvas = document.createElement("canvas");
  const ctx = sizedContext(canvas, 2 * SPRITE_RADIUS, 2 * SPRITE_RADIUS);
  ctx.fillStyle = colour;
  for (const [alpha, size] of [
    [0.1, 3.3],
    [0.16, 2.3],
    [0.5, 1.45],
  ]) {
    ctx.globalAlpha = alpha;
    ctx.beginPath();
    ctx.arc(SPRITE_RADIUS, SPRITE_RADIUS, Math.min(SPRITE_RADIUS - 1, r * size), 0, 7);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
  ctx.fillStyle = core;
  ctx.beginPath();
  if (isFailure) diamond(ctx, SPRITE_RADIUS, SPRITE_RADIUS, r + 1);
  else ctx.arc(SPRITE_RADIUS, SPRITE_RADIUS, r, 0, 7);
  ctx.fill();
  return canvas;
}
