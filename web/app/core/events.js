/** The live line mends itself; clock and network come from outside, for tests. */

export const STALE_MS = 12_000;
const QUIET_MS = 8_000;
const CHECK_MS = 1000;
const NAMES = ["snapshot", "health", "topology", "traffic", "refresh", "incident", "peers"];

export class Feed {
  /** @param {World} world @param {Listener} listener */
  constructor(world, listener) {
    this.world = world;
    this.listener = listener;
    /** @type {EventSource|null} */
    this.source = null;
    this.seq = -1;
    this.heard = world.now();
    this.tries = 0;
    this.timer = 0;
    this.retry = 0;
    this.running = false;
    this.asking = false;
    this.checked = 0;
    /** @type {"live"|"stale"|"lost"} */
    this.said = "live";
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.heard = this.checked = this.world.now();
    this.connect();
    this.watch();
  }

  pause() {
    this.running = false;
    this.world.never(this.timer);
    this.hangUp();
  }

  hangUp() {
    this.world.never(this.retry);
    this.source?.close();
    this.source = null;
  }

  connect() {
    this.hangUp();
    if (!this.running) return;
    const source = (this.source = this.world.open());
    for (const name of NAMES) {
      source.addEventListener(name, (/** @type {any} */ message) => {
        if (source === this.source) this.take(name, JSON.parse(message.data));
      });
    }
    source.addEventListener("error", () => source === this.source && this.failed());
  }

  hear() {
    this.heard = this.world.now();
    this.say("live");
  }

  silent() {
    return this.world.now() - this.heard;
  }

  /** @param {string} name @param {any} data */
  take(name, data) {
    this.hear();
    this.tries = 0;
    if (name === "snapshot") this.seq = data.seq;
    else if (data.seq <= this.seq) return;
    else if (this.seq < 0 || data.seq > this.seq + 1) return void this.ask();
    else this.seq = data.seq;
    this.listener.event(name, data);
  }

  async ask() {
    if (this.asking) return;
    this.asking = true;
    try {
      const snapshot = await this.world.snapshot();
      // Newer news than the stream brought says that the stream is dead.
      if (snapshot.seq < this.seq) return;
      if (snapshot.seq > this.seq && this.silent() > QUIET_MS) this.connect();
      this.hear();
      this.seq = snapshot.seq;
      this.listener.event("snapshot", snapshot);
    } catch (error) {
      this.refused(error);
    } finally {
      this.asking = false;
    }
  }

  /** A plain break the browser mends itself. */
  failed() {
    if (this.source?.readyState !== 2) return;
    this.again();
    if (this.silent() > STALE_MS) this.say("lost");
    void this.ask();
  }

  again() {
    this.hangUp();
    const wait = Math.min(15_000, 500 * 2 ** this.tries) * (0.75 + this.world.random() / 2);
    this.tries += 1;
    this.retry = this.world.later(() => this.connect(), wait);
  }

  /** @param {any} error */
  refused(error) {
    if (error?.status !== 401) return;
    this.pause();
    this.listener.locked();
  }

  watch() {
    this.timer = this.world.later(() => {
      const now = this.world.now();
      const slept = now - this.checked > CHECK_MS * 5;
      this.checked = now;
      const silent = this.silent();
      // A mesh in which nothing happens sends nothing: ask whether it is that.
      if (silent > QUIET_MS) void this.ask();
      if (silent > STALE_MS) this.say(this.source?.readyState === 1 ? "stale" : "lost");
      if (slept || (silent > STALE_MS + 5000 && this.source && Math.round(silent / CHECK_MS) % 12 === 6))
        this.connect();
      if (this.running) this.watch();
    }, CHECK_MS);
  }

  /** @param {"live"|"stale"|"lost"} line */
  say(line) {
    if (line === this.said) return;
    this.said = line;
    this.listener.line(line);
  }
}
