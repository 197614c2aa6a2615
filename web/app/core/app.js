/** The page's state, and every part that draws it. */
import { call, said } from "./api.js";
import { $, tell } from "../chrome/dom.js";
import { drawFilters, filtering, onlyUnhealthy, pack, unpack } from "../chrome/filters.js";
import { drawHeader } from "../chrome/header.js";
import { Ghosts } from "../map/removed_backends.js";
import { History, STEP_MS } from "./history.js";
import { lookOf } from "../map/status_styles.js";
import { Minimap } from "../map/minimap.js";
import { Panel } from "../panel/panel.js";
import { drawPeers, learnPeers, peersAre } from "../dialogs/peers.js";
import { lit, noFilters, search, shown } from "../map/selection.js";
import { Rates } from "../map/traffic_rates.js";
import { dress, paletteName, readHash, recall, remember, writeHash } from "./settings.js";
import { showEmpty } from "../map/empty_state.js";
import { Stage } from "../map/map_view.js";
import { Table } from "../chrome/table.js";
import { Timeline } from "../panel/timeline.js";
import { Tooltip } from "../panel/tooltip.js";
import { ago, clean } from "./format.js";
import { apply, fromSnapshot } from "./store.js";

export class App {
  constructor() {
    /** @type {Mesh|null} */
    this.mesh = null;
    /** @type {Map<string, Shown>} */
    this.shown = new Map();
    /** By model. @type {Map<string, string[]>} */
    this.servers = new Map();
    this.ghosts = new Ghosts();
    this.history = new History(Date.now());
    this.rates = new Rates();
    const hash = readHash();
    this.filters = unpack(hash.hide);
    /** @type {ReturnType<typeof search>} */
    this.found = null;
    this.query = hash.q ?? "";
    /** @type {string|null} */
    this.selected = null;
    /** A past step; null is now. @type {number|null} */
    this.past = null;
    this.settings = recall();
    this.theme = paletteName(this.settings.theme);
    /** @type {"live"|"stale"|"lost"} */
    this.line = "live";
    /** When each health came. @type {WeakMap<object, number>} */
    this.told = new WeakMap();
    this.begun = Date.now();
    this.shape = { of: "", text: "" };
    this.serving = "";
    this.glowTimer = this.soon = 0;
    /** @type {Set<string>} */
    this.glow = new Set();
    this.autoBefore = true;
    this.stage = new Stage(
      {
        root: $("stage"),
        edges: $("edges"),
        particles: $("particles"),
        world: $("world"),
        heads: $("heads"),
      },
      {
        rate: (id) => this.rates.under(`m:${id}\n`, performance.now()),
        moved: () => this.moved(),
        cleared: () => this.select(null),
      },
    );
    this.minimap = new Minimap(this.stage);
    this.panel = new Panel(this);
    this.tooltip = new Tooltip(this);
    this.table = new Table(this);
    this.timeline = new Timeline(this);
  }

  /** @param {string} name @param {any} data */
  event(name, data) {
    const now = Date.now();
    const before = this.mesh;
    this.mesh = before ? apply(before, name, data) : fromSnapshot(data);
    if (name === "snapshot") this.begun = now - data.router.uptime_s * 1000;
    if (name === "peers") peersAre(data.peers);
    else if (name === "snapshot" && before?.seq !== data.seq) void learnPeers();
    for (const b of this.mesh.backends.values()) if (!this.told.has(b.health)) this.told.set(b.health, now);
    if (before && (name === "topology" || name === "snapshot")) {
      this.ghosts.compare(before.backends, this.mesh.backends, now);
      if (this.ghosts.gone.size) setTimeout(() => this.ghosts.fade(Date.now()) && this.update(), 60_100);
    }
    if (name === "incident") {
      this.history.changed(data, now);
      tell(
        `${clean(this.mesh.backends.get(data.backend)?.name ?? data.backend)} is ${data.to}. ${data.to === "healthy" ? "" : data.text}`,
      );
    }
    if (name === "traffic") this.traffic(data.routes);
    this.note(now);
    // More of the same traffic changes only counters: twice a second is enough.
    if (
      name !== "traffic" ||
      data.routes.some((/** @type {RouteTraffic} */ r) => !this.glow.has(`m:${r.backend}\n${r.model}`))
    )
      this.update();
    else this.soon ||= window.setTimeout(() => this.update(), 500);
    document.body.dataset.seq = String(this.mesh.seq);
  }

  /** @param {number} now */
  note(now) {
    this.history.note(
      [...(this.mesh?.backends.values() ?? [])].map((b) => ({
        id: b.id,
        look: lookOf(b),
        latency: b.latency_ms,
      })),
      now,
    );
  }

  /** @param {RouteTraffic[]} routes */
  traffic(routes) {
    const now = performance.now();
    for (const route of routes) {
      this.rates.note(`m:${route.backend}\n${route.model}`, route.started, now);
      if (this.past === null && this.settings.view === "map") this.stage.fly(route, 250);
    }
    clearTimeout(this.glowTimer);
    const end = this.rates.nextEnd(now);
    if (end !== null) this.glowTimer = window.setTimeout(() => this.update(), end - now + 20);
  }

  update() {
    const { mesh, stage } = this;
    clearTimeout(this.soon);
    this.soon = 0;
    if (!mesh) return;
    const past =
      this.past === null
        ? null
        : (/** @type {string} */ id) => this.history.at(id, /** @type {number} */ (this.past));
    const all = this.ghosts.among([...mesh.backends.values()]);
    this.shown = new Map(shown(all, this.filters, past).map((b) => [b.id, b]));
    const of = `${mesh.topology} ${this.ghosts.gone.size}`;
    if (this.shape.of !== of)
      this.shape = {
        of,
        text: all.map(({ backend: b }) => [b.id, b.name, b.ring, ...b.models].join("\n")).join("\n\n"),
      };
    const topology = `${this.shape.text}|${[...this.shown.keys()].join("\n")}`;
    if (topology !== this.serving) {
      this.serving = topology;
      this.servers = new Map();
      for (const b of this.shown.values())
        for (const model of b.models) this.servers.get(model)?.push(b.id) ?? this.servers.set(model, [b.id]);
    }
    this.found = search(this.query, [...this.shown.values()], (id) => mesh.backends.get(id)?.url ?? "");
    const r = mesh.router;
    const hot = (this.glow = past ? new Set() : this.rates.glowing(mesh.busy, performance.now()));
    const looks = [...this.shown.values()].map((b) => `${b.look}${b.latency}${b.reason}${b.gone}`);
    stage.show({
      sig: [looks, this.selected, this.query, [...hot].sort(), stage.still && hot.size ? Date.now() : 0].join(
        "|",
      ),
      backends: this.shown,
      topology,
      selected: this.selected,
      found: this.found?.keys ?? null,
      lit: lit(this.selected, this.shown, this.servers),
      waysOf: (key) => lit(key, this.shown, this.servers),
      hot,
      hub: { name: clean(r.name), status: r.status, uptime: ago(this.uptime()), requests: r.requests },
    });
    showEmpty(
      this,
      this.shown.size
        ? "ready"
        : past
          ? "past"
          : filtering(this.filters) && mesh.backends.size
            ? "filtered"
            : "none",
    );
    drawHeader(this);
    this.panel.update();
    this.table.update();
    this.timeline.update();
    drawPeers();
  }

  moved() {
    this.minimap.update();
    if (this.tooltip.key) this.tooltip.show(this.tooltip.key);
  }

  /** @param {string|null} key @param {boolean} [travel] */
  select(key, travel = false) {
    const before = this.selected;
    if (key === before) return key ? this.panel.show(key, true) : undefined;
    if (!before) this.autoBefore = this.stage.auto;
    this.selected = key;
    writeHash({ sel: key });
    this.tooltip.show(null);
    if (key) this.panel.show(key, true);
    else this.panel.hide();
    this.measure();
    this.update();
    if (key) {
      this.stage.cards.goTo(key, false);
      // Once the narrower stage is laid out.
      requestAnimationFrame(() => requestAnimationFrame(() => this.stage.reveal(key, travel)));
    } else if (before) {
      this.stage.auto ||= this.autoBefore;
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          if (this.autoBefore) this.stage.fit();
          if (this.settings.view === "map") this.stage.cards.goTo(before, true);
        }),
      );
    }
  }

  /** Take the stage's size; beside the panel it is laid out anew if every name stays readable. */
  measure() {
    const el = $("stage");
    this.stage.resize(
      el.clientWidth,
      el.clientHeight,
      this.stage.suits(el.clientWidth, el.clientHeight) || !this.panel.open,
    );
  }

  /** @param {Filters} filters */
  filter(filters) {
    this.filters = filters;
    writeHash({ hide: pack(filters) });
    this.stage.auto = true;
    this.update();
    drawFilters(this);
  }

  toggleUnhealthy() {
    this.filter(filtering(this.filters) ? noFilters() : onlyUnhealthy());
  }

  /** @param {string} query */
  find(query) {
    this.query = query;
    writeHash({ q: query || null });
    this.update();
  }

  /** @param {number|null} step */
  travel(step) {
    this.past = step;
    document.body.classList.toggle("past", step !== null);
    if (step !== null) this.stage.particles.clear();
    this.update();
  }

  /** @param {Partial<Settings>} change */
  set(change) {
    Object.assign(this.settings, change);
    remember(this.settings);
    dress(this);
    this.update();
  }

  async refresh() {
    try {
      await call("POST", "/mesh/refresh");
    } catch (error) {
      tell(said(error));
    }
  }

  /** @param {"live"|"stale"|"lost"} line */
  lineIs(line) {
    this.line = line;
    document.body.classList.toggle("stale", line !== "live");
    drawHeader(this);
  }

  uptime() {
    return (Date.now() - this.begun) / 1000;
  }

  /** @param {BackendView} b */
  sinceOf(b) {
    return b.health.since_s + (Date.now() - (this.told.get(b.health) ?? Date.now())) / 1000;
  }

  pastAge() {
    return this.past === null ? 0 : ((this.history.step - this.past) * STEP_MS) / 1000;
  }

  rest() {
    this.stage.particles.clear();
    clearTimeout(this.glowTimer);
    clearTimeout(this.soon);
  }
}
