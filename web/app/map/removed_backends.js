/** Who left stays a ghost for a minute. */

export const GHOST_MS = 60_000;

export class Ghosts {
  constructor() {
    /** @type {Map<string, Ghost>} */
    this.gone = new Map();
  }

  /** @param {Map<string, BackendView>} before @param {Map<string, BackendView>} after @param {number} now */
  compare(before, after, now) {
    let place = 0;
    for (const [id, backend] of before) {
      if (!after.has(id)) this.gone.set(id, { backend, place, until: now + GHOST_MS });
      place += 1;
    }
    for (const id of after.keys()) this.gone.delete(id);
  }

  /** @param {number} now */
  fade(now) {
    const before = this.gone.size;
    for (const [id, ghost] of this.gone) if (ghost.until <= now) this.gone.delete(id);
    return this.gone.size < before;
  }

  /** At their old places. @param {BackendView[]} living @returns {{backend:BackendView, gone:boolean}[]} */
  among(living) {
    const all = living.map((backend) => ({ backend, gone: false }));
    for (const ghost of [...this.gone.values()].sort((a, b) => a.place - b.place)) {
      all.splice(Math.min(ghost.place, all.length), 0, { backend: ghost.backend, gone: true });
    }
    return all;
  }
}
