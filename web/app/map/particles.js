/**
 * One particle for each real request, a smaller one for its answer, a diamond for a failure. The loop runs while
 * something flies, at most 30 frames a second. A `way` is x, y, length so far for each point.
 */

import { diamond, penOf } from "./canvas.js";

const FRAME_MS = 1000 / 30;
const MOST = 260;
const REACH = 10;

export class Particles {
  /** @param {HTMLCanvasElement} canvas @param {()=>Camera} camera */
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.camera = camera;
    /** @type {Particle[]} */
    this.flying = [];
    this.frame = 0;
    this.drawn = 0;
    /** The governor lengthens it. */
    this.pace = FRAME_MS;
    this.cost = 0;
    /** @type {Record<string, HTMLCanvasElement>} */
    this.stamps = {};
  }

  /** @param {Palette} palette */
  paint({ looks, ink }) {
    this.stamps = {
      there: stamp(looks.healthy, ink, 2.6),
      back: stamp(looks.healthy, looks.healthy, 1.9),
      failed: stamp(looks.unhealthy, looks.unhealthy, 4.2, true),
    };
  }

  /** @param {Float32Array} way @param {{back:boolean, failed:boolean, delay:number, life:number, now:number}} flight milliseconds */
  fly(way, { back, failed, delay, life, now }) {
    if (this.flying.length >= MOST) this.flying.shift();
    this.flying.push({ way, born: now + delay, life, back, failed });
    if (!this.frame) this.frame = requestAnimationFrame((t) => this.tick(t));
  }

  clear() {
    this.flying = [];
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.wipe();
  }

  /** @param {number} t */
  tick(t) {
    this.frame = 0;
    try {
      if (t - this.drawn >= this.pace - 4) {
        this.drawn = t;
        const start = performance.now();
        this.draw(start);
        this.cost = this.cost * 0.9 + (performance.now() - start) * 0.1;
        this.pace = this.cost > 9 ? FRAME_MS * 2 : FRAME_MS;
      }
    } finally {
      // A fault in one frame must not end the loop for good.
      if (this.flying.length) this.frame = requestAnimationFrame((next) => this.tick(next));
    }
  }

  wipe() {
    this.canvas.getContext("2d")?.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** @param {number} now */
  draw(now) {
    const pen = this.canvas.getContext("2d");
    if (!pen) return;
    this.wipe();
    const { k, x, y } = this.camera();
    let alive = 0;
    for (const p of this.flying) {
      const age = (now - p.born) / p.life;
      if (age >= 1) continue;
      this.flying[alive++] = p;
      if (age < 0) continue;
      const eased = age * age * (3 - 2 * age) * 0.35 + age * 0.65;
      const at = spot(p.way, p.back ? 1 - eased : eased);
      const px = Math.round(at[0] * k + x - REACH);
      const py = Math.round(at[1] * k + y - REACH);
      if (px < -40 || py < -40 || px > this.canvas.width || py > this.canvas.height) continue;
      pen.drawImage(
        p.failed ? this.stamps.failed : p.back ? this.stamps.back : this.stamps.there,
        px,
        py,
        2 * REACH,
        2 * REACH,
      );
    }
    this.flying.length = alive;
    if (!alive) this.wipe();
  }
}

/** @param {number[]} points x y x y … */
export function way(points) {
  const out = new Float32Array((points.length / 2) * 3);
  let length = 0;
  for (let i = 0; i < points.length / 2; i += 1) {
    if (i) length += Math.hypot(points[2 * i] - points[2 * i - 2], points[2 * i + 1] - points[2 * i - 1]);
    out.set([points[2 * i], points[2 * i + 1], length], i * 3);
  }
  return out;
}

/** @param {Float32Array} way_ @param {number} part @returns {[number, number]} */
export function spot(way_, part) {
  const last = way_.length - 3;
  const want = way_[last + 2] * part;
  let low = 0;
  let high = last / 3;
  while (high - low > 1) {
    const mid = (low + high) >> 1;
    if (way_[mid * 3 + 2] <= want) low = mid;
    else high = mid;
  }
  const [a, b] = [low * 3, Math.min(last, low * 3 + 3)];
  const span = way_[b + 2] - way_[a + 2];
  const f = span > 0 ? (want - way_[a + 2]) / span : 0;
  return [way_[a] + (way_[b] - way_[a]) * f, way_[a + 1] + (way_[b + 1] - way_[a + 1]) * f];
}

/** @param {number|null} latency */
export const lifeOf = (latency) => 650 + Math.min(1900, 34 * Math.sqrt(Math.max(0, latency ?? 50)));

/** @param {string} colour @param {string} core @param {number} r @param {boolean} [failed] */
function stamp(colour, core, r, failed) {
  const canvas = document.createElement("canvas");
  const pen = penOf(canvas, 2 * REACH, 2 * REACH);
  pen.fillStyle = colour;
  for (const [alpha, size] of [
    [0.1, 3.3],
    [0.16, 2.3],
    [0.5, 1.45],
  ]) {
    pen.globalAlpha = alpha;
    pen.beginPath();
    pen.arc(REACH, REACH, Math.min(REACH - 1, r * size), 0, 7);
    pen.fill();
  }
  pen.globalAlpha = 1;
  pen.fillStyle = core;
  pen.beginPath();
  if (failed) diamond(pen, REACH, REACH, r + 1);
  else pen.arc(REACH, REACH, r, 0, 7);
  pen.fill();
  return canvas;
}
