/** The page's state, and every part that draws it. */
import { callApi, errorText } from "./api.js";
import { $, announce } from "../chrome/dom.js";
import {
  renderFilters,
  isFiltering,
  onlyUnhealthy,
  encodeFilters,
  decodeFilters,
} from "../chrome/filters.js";
import { renderHeader } from "../chrome/header.js";
import { RemovedBackends } from "../map/removed_backends.js";
import { History, STEP_MS } from "./history.js";
import { statusOf } from "../map/status_styles.js";
import { Minimap } from "../map/minimap.js";
import { Panel } from "../panel/panel.js";
import { renderPeers, loadPeers, setPeers } from "../dialogs/peers.js";
import { highlightedKeys, noFilters, searchMesh, visibleBackends } from "../map/selection.js";
import { TrafficRates } from "../map/traffic_rates.js";
import { applySettings, resolveTheme, readHash, loadSettings, saveSettings, writeHash } from "./settings.js";
import { showEmptyState } from "../map/empty_state.js";
import { MapView } from "../map/map_view.js";
import { Table } from "../chrome/table.js";
import { Timeline } from "../panel/timeline.js";
import { Tooltip } from "../panel/tooltip.js";
import { formatDuration, displayName } from "./format.js";
import { applyEvent, fromSnapshot } from "./mesh.js";

export class App {
  constructor() {
    /** @type {Mesh|null} */
    this.mesh = null;
    /** @type {Map<string, ShownBackend>} */
    this.shown = new Map();
    /** By model. @type {Map<string, string[]>} */
    this.servers = new Map();
    this.removed = new RemovedBackends();
    this.history = new History(Date.now());
    this.rates = new TrafficRates();
    const hash = readHash();
    this.filters = decodeFilters(hash.hide);
    /** @type {ReturnType<typeof searchMesh>} */
    this.matches = null;
    this.query = hash.q ?? "";
    /** @type {string|null} */
    this.selected = null;
    /** A past step; null is now. @type {number|null} */
    this.moment = null;
    this.settings = loadSettings();
    this.theme = resolveTheme(this.settings.theme);
    /** @type {"live"|"stale"|"lost"} */
    this.connection = "live";
    /** When each health came. @type {WeakMap<object, number>} */
    this.healthSeenAt = new WeakMap();
    this.startedAt = Date.now();
    this.shape = { of: "", text: "" };
    this.serversOf = "";
    this.activityTimer = this.updateTimer = 0;
    /** @type {Set<string>} */
    this.activeRoutes = new Set();
    this.autoFitBefore = true;
    this.map = new MapView(
      {
        root: $("map"),
        edges: $("edges"),
        particles: $("particles"),
        world: $("world"),
        heads: $("lane-headers"),
      },
      {
        rate: (id) => this.rates.totalRate(`m:${id}\n`, performance.now()),
        moved: () => this.moved(),
        cleared: () => this.select(null),
      },
    );
    this.minimap = new Minimap(this.map);
    this.panel = new Panel(this);
    this.tooltip = new Tooltip(this);
    this.table = new Table(this);
    this.timeline = new Timeline(this);
  }

  /** @param {string} name @param {any} data */
  event(name, data) {
    const now = Date.now();
    const before = this.mesh;
    this.mesh = before ? applyEvent(before, name, data) : fromSnapshot(data);
    if (name === "snapshot") this.startedAt = now - data.router.uptime_s * 1000;
    if (name === "peers") setPeers(data.peers);
    else if (name === "snapshot" && before?.seq !== data.seq) void loadPeers();
    for (const b of this.mesh.backends.values())
      if (!this.healthSeenAt.has(b.health)) this.healthSeenAt.set(b.health, now);
    if (before && (name === "topology" || name === "snapshot")) {
      this.removed.update(before.backends, this.mesh.backends, now);
      if (this.removed.entries.size)
        setTimeout(() => this.removed.expire(Date.now()) && this.update(), 60_100);
    }
    if (name === "incident") {
      this.history.addChange(data, now);
      announce(
        `${displayName(this.mesh.backends.get(data.backend)?.name ?? data.backend)} is ${data.to}. ${data.to === "healthy" ? "" : data.text}`,
      );
    }
    if (name === "traffic") this.traffic(data.routes);
    this.recordHistory(now);
    // More of the same traffic changes only counters: twice a second is enough.
    if (
      name !== "traffic" ||
      data.routes.some(
        (/** @type {RouteTraffic} */ r) => !this.activeRoutes.has(`m:${r.backend}\n${r.model}`),
      )
    )
      this.update();
    else this.updateTimer ||= window.setTimeout(() => this.update(), 500);
    document.body.dataset.seq = String(this.mesh.seq);
  }

  /** @param {number} now */
  recordHistory(now) {
    this.history.record(
      [...(this.mesh?.backends.values() ?? [])].map((b) => ({
        id: b.id,
        status: statusOf(b),
        latency: b.latency_ms,
      })),
      now,
    );
  }

  /** @param {RouteTraffic[]} routes */
  traffic(routes) {
    const now = performance.now();
    for (const route of routes) {
      this.rates.record(`m:${route.backend}\n${route.model}`, route.started, now);
      if (this.moment === null && this.settings.view === "map") this.map.showTraffic(route, 250);
    }
    clearTimeout(this.activityTimer);
    const end = this.rates.nextExpiry(now);
    if (end !== null) this.activityTimer = window.setTimeout(() => this.update(), end - now + 20);
  }

  update() {
    const { mesh, map } = this;
    clearTimeout(this.updateTimer);
    this.updateTimer = 0;
    if (!mesh) return;
    const pastStatus =
      this.moment === null
        ? null
        : (/** @type {string} */ id) => this.history.at(id, /** @type {number} */ (this.moment));
    const all = this.removed.mergeInto([...mesh.backends.values()]);
    this.shown = new Map(visibleBackends(all, this.filters, pastStatus).map((b) => [b.id, b]));
    const of = `${mesh.topology} ${this.removed.entries.size}`;
    if (this.shape.of !== of)
      this.shape = {
        of,
        text: all.map(({ backend: b }) => [b.id, b.name, b.ring, ...b.models].join("\n")).join("\n\n"),
      };
    const topology = `${this.shape.text}|${[...this.shown.keys()].join("\n")}`;
    if (topology !== this.serversOf) {
      this.serversOf = topology;
      this.servers = new Map();
      for (const b of this.shown.values())
        for (const model of b.models) this.servers.get(model)?.push(b.id) ?? this.servers.set(model, [b.id]);
    }
    this.matches = searchMesh(this.query, [...this.shown.values()], (id) => mesh.backends.get(id)?.url ?? "");
    const r = mesh.router;
    const active = (this.activeRoutes = pastStatus
      ? new Set()
      : this.rates.activeRoutes(mesh.inFlightByRoute, performance.now()));
    const statuses = [...this.shown.values()].map((b) => `${b.status}${b.latency}${b.reason}${b.removed}`);
    map.show({
      signature: [
        statuses,
        this.selected,
        this.query,
        [...active].sort(),
        map.reducedMotion && active.size ? Date.now() : 0,
      ].join("|"),
      backends: this.shown,
      topology,
      selected: this.selected,
      matches: this.matches?.keys ?? null,
      highlighted: highlightedKeys(this.selected, this.shown, this.servers),
      pathOf: (key) => highlightedKeys(key, this.shown, this.servers),
      active,
      hub: {
        name: displayName(r.name),
        status: r.status,
        uptime: formatDuration(this.uptime()),
        requests: r.requests,
      },
    });
    showEmptyState(
      this,
      this.shown.size
        ? "ready"
        : pastStatus
          ? "past"
          : isFiltering(this.filters) && mesh.backends.size
            ? "filtered"
            : "none",
    );
    renderHeader(this);
    this.panel.update();
    this.table.update();
    this.timeline.update();
    renderPeers();
  }

  moved() {
    this.minimap.update();
    if (this.tooltip.key) this.tooltip.show(this.tooltip.key);
  }

  /** @param {string|null} key @param {boolean} [travel] */
  select(key, travel = false) {
    const before = this.selected;
    if (key === before) return key ? this.panel.show(key, true) : undefined;
    if (!before) this.autoFitBefore = this.map.autoFit;
    this.selected = key;
    writeHash({ sel: key });
    this.tooltip.show(null);
    if (key) this.panel.show(key, true);
    else this.panel.hide();
    this.measure();
    this.update();
    if (key) {
      this.map.cards.makeTabStop(key, false);
      // Once the narrower stage is laid out.
      requestAnimationFrame(() => requestAnimationFrame(() => this.map.reveal(key, travel)));
    } else if (before) {
      this.map.autoFit ||= this.autoFitBefore;
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          if (this.autoFitBefore) this.map.fit();
          if (this.settings.view === "map") this.map.cards.makeTabStop(before, true);
        }),
      );
    }
  }

  /** Take the stage's size; beside the panel it is laid out anew if every name stays readable. */
  measure() {
    const el = $("map");
    this.map.resize(
      el.clientWidth,
      el.clientHeight,
      this.map.fitsWide(el.clientWidth, el.clientHeight) || !this.panel.open,
    );
  }

  /** @param {Filters} filters */
  filter(filters) {
    this.filters = filters;
    writeHash({ hide: encodeFilters(filters) });
    this.map.autoFit = true;
    this.update();
    renderFilters(this);
  }

  toggleUnhealthy() {
    this.filter(isFiltering(this.filters) ? noFilters() : onlyUnhealthy());
  }

  /** @param {string} query */
  search(query) {
    this.query = query;
    writeHash({ q: query || null });
    this.update();
  }

  /** @param {number|null} step */
  showMoment(step) {
    this.moment = step;
    document.body.classList.toggle("past", step !== null);
    if (step !== null) this.map.particles.clear();
    this.update();
  }

  /** @param {Partial<Settings>} change */
  set(change) {
    Object.assign(this.settings, change);
    saveSettings(this.settings);
    applySettings(this);
    this.update();
  }

  async refresh() {
    try {
      await callApi("POST", "/mesh/refresh");
    } catch (error) {
      announce(errorText(error));
    }
  }

  /** @param {"live"|"stale"|"lost"} line */
  setConnection(line) {
    this.connection = line;
    document.body.classList.toggle("stale", line !== "live");
    renderHeader(this);
  }

  uptime() {
    return (Date.now() - this.startedAt) / 1000;
  }

  /** @param {BackendView} b */
  sinceOf(b) {
    return b.health.since_s + (Date.now() - (this.healthSeenAt.get(b.health) ?? Date.now())) / 1000;
  }

  momentAge() {
    return this.moment === null ? 0 : ((this.history.step - this.moment) * STEP_MS) / 1000;
  }

  pause() {
    this.map.particles.clear();
    clearTimeout(this.activityTimer);
    clearTimeout(this.updateTimer);
  }
}
