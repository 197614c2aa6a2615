/** The last hour: status and latency of each backend every 5 s, in rings. */
import { STATUS_ORDER } from "../map/status_styles.js";

export const STEP_MS = 5000;
export const STEPS = 720;
const MAX_CHANGES = 20;

/** 0 = not there. @type {(status:Status)=>number} */
const statusCode = (status) => STATUS_ORDER.indexOf(status) + 1;

export class History {
  /** @param {number} now */
  constructor(now) {
    /** @type {Map<string, Track>} */
    this.tracks = new Map();
    /** @type {Map<string, StateChange[]>} */
    this.changes = new Map();
    this.step = Math.floor(now / STEP_MS);
    /** The oldest step seen. */
    this.firstStep = this.step;
    this.hasBackfill = false;
    /** Counts the changes to what is shown of the past. */
    this.version = 0;
  }

  /** Steps slept through stay empty. @param {Iterable<{id:string, status:Status, latency:number|null}>} present @param {number} now */
  record(present, now) {
    const step = Math.floor(now / STEP_MS);
    for (let s = Math.max(this.step, step - STEPS) + 1; s <= step; s += 1) {
      for (const track of this.tracks.values()) track.statuses[s % STEPS] = 0;
    }
    if (step > this.step) this.version += 1;
    this.step = Math.max(this.step, step);
    this.firstStep = Math.max(this.firstStep, this.step - STEPS + 1);
    for (const { id, status, latency } of present) {
      const track = this.track(id);
      track.statuses[step % STEPS] = statusCode(status);
      track.latencies[step % STEPS] = latency ?? NaN;
    }
  }

  /** @param {string} id @returns {Track} */
  track(id) {
    let track = this.tracks.get(id);
    if (!track) {
      track = { statuses: new Uint8Array(STEPS), latencies: new Float32Array(STEPS).fill(NaN) };
      this.tracks.set(id, track);
    }
    return track;
  }

  /** @param {Incident} incident @param {number} at */
  addChange(incident, at) {
    const list = this.changes.get(incident.backend) ?? [];
    list.unshift({ ...incident, at });
    this.changes.set(incident.backend, list.slice(0, MAX_CHANGES));
  }

  /** @param {string} id @param {number} step */
  at(id, step) {
    const track = this.tracks.get(id);
    const code = track && step > this.step - STEPS && step <= this.step ? track.statuses[step % STEPS] : 0;
    if (!track || !code) return null;
    const latency = track.latencies[step % STEPS];
    return { status: STATUS_ORDER[code - 1], latency: Number.isNaN(latency) ? null : latency };
  }

  /** @param {number} step */
  statusCounts(step) {
    const counts = [0, 0, 0, 0, 0];
    if (step <= this.step - STEPS || step > this.step) return counts;
    for (const track of this.tracks.values()) {
      const code = track.statuses[step % STEPS];
      if (code) counts[code - 1] += 1;
    }
    return counts;
  }

  /** Oldest first; NaN for unknown. @param {string} id @param {number} steps */
  latencies(id, steps) {
    const out = [];
    for (let s = this.step - steps + 1; s <= this.step; s += 1) out.push(this.at(id, s)?.latency ?? NaN);
    return out;
  }

  /** @param {any} remembered @param {number} now */
  backfill(remembered, now) {
    for (const [id, { states = [], latency_ms = [] }] of Object.entries(remembered.backends ?? {})) {
      const track = this.track(id);
      for (let i = 0; i < states.length; i += 1) {
        const step = this.step - states.length + 1 + i;
        if (step <= this.step - STEPS || !states[i] || track.statuses[step % STEPS]) continue;
        track.statuses[step % STEPS] = statusCode(states[i]);
        track.latencies[step % STEPS] = latency_ms[i] ?? NaN;
        this.firstStep = Math.min(this.firstStep, step);
      }
    }
    const later = [...this.changes.values()].flat().filter((c) => c.at > now);
    this.changes.clear();
    for (const incident of remembered.incidents ?? []) this.addChange(incident, now - incident.ago_s * 1000);
    for (const change of later.reverse()) this.addChange(change, change.at);
    this.hasBackfill = this.tracks.size > 0;
    this.version += 1;
  }
}
