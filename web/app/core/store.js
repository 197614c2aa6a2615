/** What the page shows, in one place: parts subscribe to the pieces that they draw. */

/** Flat lists are equal when their items are. @param {any} a @param {any} b */
function isEqual(a, b) {
  if (Object.is(a, b)) return true;
  if (!Array.isArray(a) || !Array.isArray(b)) return false;
  return a.length === b.length && a.every((item, i) => Object.is(item, b[i]));
}

/** @template T */
export class Store {
  /** @param {T} state */
  constructor(state) {
    this.state = state;
    /** @type {Set<()=>void>} */
    this.checks = new Set();
  }

  /** @param {Partial<T>} change */
  set(change) {
    this.state = { ...this.state, ...change };
    for (const check of this.checks) check();
  }

  /**
   * Call the listener whenever the selected value is another one than before.
   * @template V
   * @param {(state:T)=>V} selector a value, or a flat list of values
   * @param {(value:V, before:V)=>void} listener
   */
  subscribe(selector, listener) {
    let current = selector(this.state);
    const check = () => {
      const next = selector(this.state);
      if (isEqual(current, next)) return;
      const before = current;
      current = next;
      listener(next, before);
    };
    this.checks.add(check);
  }
}
