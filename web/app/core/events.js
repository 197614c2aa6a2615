/** The live line mends itself; clock and network come from outside, for tests. */

export const STALE_MS = 12_000;
const RESYNC_AFTER_MS = 8_000;
const CHECK_MS = 1000;
const EVENT_NAMES = "snapshot health topology traffic refresh incident peers local settings sign-in".split(
  " ",
);

export class EventStream {
  /** @param {StreamEnvironment} world @param {StreamListener} listener */
  constructor(world, listener) {
    this.environment = world;
    this.listener = listener;
    /** @type {EventSource|null} */
    this.source = null;
    this.seq = -1;
    this.lastEventAt = world.now();
    this.tries = 0;
    this.timer = 0;
    this.retry = 0;
    this.isRunning = false;
    this.isResyncing = false;
    this.lastCheckAt = 0;
    /** @type {"live"|"stale"|"lost"} */
    this.connection = "live";
  }

  start() {
    if (this.isRunning) return;
    this.isRunning = true;
    this.lastEventAt = this.lastCheckAt = this.environment.now();
    this.connect();
    this.watch();
  }

  pause() {
    this.isRunning = false;
    this.environment.clearTimer(this.timer);
    this.disconnect();
  }

  disconnect() {
    this.environment.clearTimer(this.retry);
    this.source?.close();
    this.source = null;
  }

  connect() {
    this.disconnect();
    if (!this.isRunning) return;
    const source = (this.source = this.environment.openStream());
    for (const name of EVENT_NAMES) {
      source.addEventListener(name, (/** @type {any} */ message) => {
        if (source === this.source) this.receive(name, JSON.parse(message.data));
      });
    }
    source.addEventListener("error", () => source === this.source && this.streamFailed());
  }

  markAlive() {
    this.lastEventAt = this.environment.now();
    this.setConnection("live");
  }

  silentMs() {
    return this.environment.now() - this.lastEventAt;
  }

  /** @param {string} name @param {any} data */
  receive(name, data) {
    this.markAlive();
    this.tries = 0;
    if (name === "snapshot") this.seq = data.seq;
    else if (data.seq <= this.seq) return;
    else if (this.seq < 0 || data.seq > this.seq + 1) return void this.resync();
    else this.seq = data.seq;
    this.listener.event(name, data);
  }

  async resync() {
    if (this.isResyncing) return;
    this.isResyncing = true;
    try {
      const snapshot = await this.environment.snapshot();
      // Newer news than the stream brought says that the stream is dead.
      if (snapshot.seq < this.seq) return;
      if (snapshot.seq > this.seq && this.silentMs() > RESYNC_AFTER_MS) this.connect();
      this.markAlive();
      this.seq = snapshot.seq;
      this.listener.event("snapshot", snapshot);
    } catch (error) {
      this.resyncFailed(error);
    } finally {
      this.isResyncing = false;
    }
  }

  /** A plain break the browser mends itself. */
  streamFailed() {
    if (this.source?.readyState !== 2) return;
    this.retryLater();
    if (this.silentMs() > STALE_MS) this.setConnection("lost");
    void this.resync();
  }

  retryLater() {
    this.disconnect();
    const delay = Math.min(15_000, 500 * 2 ** this.tries) * (0.75 + this.environment.random() / 2);
    this.tries += 1;
    this.retry = this.environment.setTimer(() => this.connect(), delay);
  }

  /** @param {any} error */
  resyncFailed(error) {
    if (error?.status !== 401) return;
    this.pause();
    this.listener.locked();
  }

  watch() {
    this.timer = this.environment.setTimer(() => {
      const now = this.environment.now();
      const wasAsleep = now - this.lastCheckAt > CHECK_MS * 5;
      this.lastCheckAt = now;
      const silent = this.silentMs();
      // A mesh in which nothing happens sends nothing: ask whether it is that.
      if (silent > RESYNC_AFTER_MS) void this.resync();
      if (silent > STALE_MS) this.setConnection(this.source?.readyState === 1 ? "stale" : "lost");
      if (wasAsleep || (silent > STALE_MS + 5000 && this.source && Math.round(silent / CHECK_MS) % 12 === 6))
        this.connect();
      if (this.isRunning) this.watch();
    }, CHECK_MS);
  }

  /** @param {"live"|"stale"|"lost"} line */
  setConnection(line) {
    if (line === this.connection) return;
    this.connection = line;
    this.listener.connection(line);
  }
}
