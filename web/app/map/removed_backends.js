/** A backend that was removed keeps its place for a minute; those of the demo leave at once. */

export const KEEP_MS = 60_000;

export class RemovedBackends {
  constructor() {
    /** @type {Map<string, RemovedBackend>} */
    this.entries = new Map();
  }

  /** @param {Map<string, BackendView>} before @param {Map<string, BackendView>} after @param {number} now */
  update(before, after, now) {
    let index = 0;
    for (const [id, backend] of before) {
      if (!after.has(id) && backend.source !== "demo")
        this.entries.set(id, { backend, index, until: now + KEEP_MS });
      index += 1;
    }
    for (const id of after.keys()) this.entries.delete(id);
  }

  /** @param {number} now */
  expire(now) {
    const before = this.entries.size;
    for (const [id, entry] of this.entries) if (entry.until <= now) this.entries.delete(id);
    return this.entries.size < before;
  }

  /** At their old places. @param {BackendView[]} living @returns {{backend:BackendView, removed:boolean}[]} */
  mergeInto(living) {
    const all = living.map((backend) => ({ backend, removed: false }));
    for (const entry of [...this.entries.values()].sort((a, b) => a.index - b.index)) {
      all.splice(Math.min(entry.index, all.length), 0, { backend: entry.backend, removed: true });
    }
    return all;
  }
}
