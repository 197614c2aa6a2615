/** The last hour: look and latency of each backend every 5 s, in rings. */
import { LOOK_ORDER } from "../map/status_styles.js";

export const STEP_MS = 5000;
export const STEPS = 720;
const CHANGES = 20;

/** 0 = not there. @type {(look:Look)=>number} */
const codeOf = (look) => LOOK_ORDER.indexOf(look) + 1;

export class History {
  /** @param {number} now */
  constructor(now) {
    /** @type {Map<string, Track>} */
    this.tracks = new Map();
    /** @type {Map<string, Change[]>} */
    this.changes = new Map();
    this.step = Math.floor(now / STEP_MS);
    /** The oldest step seen. */
    this.first = this.step;
    this.seeded = false;
  }

  /** Steps slept through stay empty. @param {Iterable<{id:string, look:Look, latency:number|null}>} present @param {number} now */
  note(present, now) {
    const step = Math.floor(now / STEP_MS);
    for (let s = Math.max(this.step, step - STEPS) + 1; s <= step; s += 1) {
      for (const track of this.tracks.values()) track.looks[s % STEPS] = 0;
    }
    this.step = Math.max(this.step, step);
    this.first = Math.max(this.first, this.step - STEPS + 1);
    for (const { id, look, latency } of present) {
      const track = this.track(id);
      track.looks[step % STEPS] = codeOf(look);
      track.latencies[step % STEPS] = latency ?? NaN;
    }
  }

  /** @param {string} id @returns {Track} */
  track(id) {
    let track = this.tracks.get(id);
    if (!track) {
      track = { looks: new Uint8Array(STEPS), latencies: new Float32Array(STEPS).fill(NaN) };
      this.tracks.set(id, track);
    }
    return track;
  }

  /** @param {Incident} incident @param {number} at */
  changed(incident, at) {
    const list = this.changes.get(incident.backend) ?? [];
    list.unshift({ ...incident, at });
    this.changes.set(incident.backend, list.slice(0, CHANGES));
  }

  /** @param {string} id @param {number} step */
  at(id, step) {
    const track = this.tracks.get(id);
    const code = track && step > this.step - STEPS && step <= this.step ? track.looks[step % STEPS] : 0;
    if (!track || !code) return null;
    const latency = track.latencies[step % STEPS];
    return { look: LOOK_ORDER[code - 1], latency: Number.isNaN(latency) ? null : latency };
  }

  /** @param {number} step */
  census(step) {
    const counts = [0, 0, 0, 0, 0];
    if (step <= this.step - STEPS || step > this.step) return counts;
    for (const track of this.tracks.values()) {
      const code = track.looks[step % STEPS];
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

  /** @param {any} told @param {number} now */
  seed(told, now) {
    for (const [id, { states, latency_ms }] of Object.entries(told.backends)) {
      const track = this.track(id);
      for (let i = 0; i < states.length; i += 1) {
        const step = this.step - states.length + 1 + i;
        if (step <= this.step - STEPS || !states[i] || track.looks[step % STEPS]) continue;
        track.looks[step % STEPS] = codeOf(states[i]);
        track.latencies[step % STEPS] = latency_ms[i] ?? NaN;
        this.first = Math.min(this.first, step);
      }
    }
    const later = [...this.changes.values()].flat().filter((c) => c.at > now);
    this.changes.clear();
    for (const incident of told.incidents) this.changed(incident, now - incident.ago_s * 1000);
    for (const change of later.reverse()) this.changed(change, change.at);
    this.seeded = this.tracks.size > 0;
  }
}
