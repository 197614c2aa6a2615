/** The page's state and what changes it: events of the service, and a person's actions. It draws nothing. */
import { RemovedBackends } from "../map/removed_backends.js";
import {
  decodeFilters,
  encodeFilters,
  isFiltering,
  noFilters,
  onlyUnhealthy,
  searchMesh,
  visibleBackends,
} from "../map/selection.js";
import { statusOf } from "../map/status_styles.js";
import { TrafficRates } from "../map/traffic_rates.js";
import { displayName } from "./format.js";
import { History, STEP_MS } from "./history.js";
import { FOLD_KEY, LOCAL_ID, fromAnswer, lookOf, placedModels, withLocalEvent } from "./local_models.js";
import { applyEvent, fromSnapshot, routeKey } from "./mesh.js";
import { loadSettings, saveSettings, writeHash } from "./settings.js";
import { doorsOf } from "./slots.js";
import { Store } from "./store.js";

/** Counters of running traffic are brought up to date this often. */
const COUNTERS_MS = 500;
/** @type {Map<string, number>} */
const NO_RATES = new Map();
/** @type {AppState["queues"]} */
const NO_QUEUES = new Map();
/** @type {Set<string>} */
const NO_ROUTES = new Set();

export class App {
  /**
   * @param {Record<string, string>} hash what the address says
   * @param {{announce:(text:string)=>void, showTraffic:(route:RouteTraffic)=>void}} hooks
   */
  constructor(hash, hooks) {
    this.hooks = hooks;
    this.history = new History(Date.now());
    this.rates = new TrafficRates();
    this.removed = new RemovedBackends();
    /** When each health came. @type {WeakMap<object, number>} */
    this.healthSeenAt = new WeakMap();
    this.topology = { of: "", text: "" };
    /** @type {Mesh|null} */
    this.mesh = null;
    this.searched = { query: "", shown: new Map() };
    this.activityTimer = this.updateTimer = 0;
    /** Counts what events told of this machine's models. */
    this.localRevision = 0;
    /** @type {Store<AppState>} */
    this.store = new Store({
      mesh: null,
      startedAt: Date.now(),
      connection: "live",
      topology: "",
      shown: new Map(),
      servers: new Map(),
      unused: NO_ROUTES,
      local: null,
      localLook: "",
      placed: null,
      unfolded: false,
      activeRoutes: new Set(),
      rates: NO_RATES,
      queues: NO_QUEUES,
      filters: decodeFilters(hash.hide),
      query: hash.q ?? "",
      matches: null,
      selection: { key: null, center: false },
      moment: null,
      historyVersion: 0,
      settings: loadSettings(hash.view),
      theme: "dark",
      reducedMotion: false,
    });
  }

  /** @param {string} name @param {any} data */
  event(name, data) {
    const now = Date.now();
    const before = this.mesh;
    const mesh = before ? applyEvent(before, name, data) : fromSnapshot(data);
    if (name === "snapshot") this.store.set({ startedAt: now - mesh.router.uptime_s * 1000 });
    for (const b of mesh.backends.values())
      if (!this.healthSeenAt.has(b.health)) this.healthSeenAt.set(b.health, now);
    if (before && (name === "topology" || name === "snapshot")) {
      this.removed.update(before.backends, mesh.backends, now);
      if (this.removed.entries.size)
        setTimeout(() => this.removed.expire(Date.now()) && this.update(), 60_100);
    }
    if (name === "incident") {
      this.history.addChange(data, now);
      const backend = displayName(mesh.backends.get(data.backend)?.name ?? data.backend);
      this.hooks.announce(`${backend} is ${data.to}. ${data.to === "healthy" ? "" : data.text}`);
    }
    const routes = name === "traffic" ? data.routes : [];
    if (name === "traffic") this.recordTraffic(routes);
    const present = [...mesh.backends.values()];
    this.history.record(
      present.map((b) => ({ id: b.id, status: statusOf(b), latency: b.latency_ms })),
      now,
    );
    this.mesh = mesh;
    if (name === "local") {
      this.localRevision += 1;
      const { local } = this.store.state;
      return local ? this.setLocal(withLocalEvent(local, data, now)) : undefined;
    }
    // More of the same traffic changes only counters.
    const { activeRoutes } = this.store.state;
    const isNew = (/** @type {RouteTraffic} */ r) => !activeRoutes.has(routeKey(r.backend, r.model));
    if (name !== "traffic" || routes.some(isNew)) this.update();
    else this.updateTimer ||= window.setTimeout(() => this.update(), COUNTERS_MS);
  }

  /** @param {RouteTraffic[]} routes */
  recordTraffic(routes) {
    const now = performance.now();
    const { moment, settings } = this.store.state;
    for (const route of routes) {
      this.rates.record(routeKey(route.backend, route.model), route.started, now);
      if (moment === null && settings.view === "map") this.hooks.showTraffic(route);
    }
  }

  /** @param {any} sent the answer about this machine's models @param {number} revision when it was asked for */
  takeLocal(sent, revision) {
    const { local } = this.store.state;
    this.setLocal(fromAnswer(sent, Date.now(), revision === this.localRevision ? null : local));
  }

  /** @param {LocalView} local */
  setLocal(local) {
    const localLook = lookOf(local);
    const isAnother = localLook !== this.store.state.localLook;
    this.store.set({ local, localLook });
    if (isAnother) this.update();
  }

  /** What stands on the map for this machine's models; null where that is what its backend has. @param {Map<string, ShownBackend>} shown @param {AppState["matches"]} matches */
  placeLocal(shown, matches) {
    const { local, placed, unfolded, selection } = this.store.state;
    const own = shown.get(LOCAL_ID);
    if (!local || !own) return null;
    const now = placedModels(local, own.models, unfolded, (model) => {
      const key = routeKey(LOCAL_ID, model);
      return key === selection.key || Boolean(matches?.keys.has(key));
    });
    return placed?.join("\n") === now.join("\n") ? placed : now;
  }

  /** Work out what is shown. */
  update() {
    clearTimeout(this.updateTimer);
    clearTimeout(this.activityTimer);
    this.updateTimer = 0;
    const { mesh, store } = this;
    if (!mesh) return;
    const { state } = store;
    const { moment } = state;
    const statusThen = moment === null ? null : (/** @type {string} */ id) => this.history.at(id, moment);
    const all = this.removed.mergeInto([...mesh.backends.values()]);
    const visible = visibleBackends(all, state.filters, statusThen);
    // A machine without any model is what the empty page speaks of.
    const isBare = visible.every((b) => b.id === LOCAL_ID && !b.models.length);
    const shown = unlessSame(state.shown, isBare ? [] : visible);
    const matches = this.findMatches(shown);
    const placed = this.placeLocal(shown, matches);
    const of = `${mesh.topology} ${this.removed.entries.size}`;
    if (this.topology.of !== of) {
      const text = all.map(({ backend: b }) => [b.id, b.name, b.ring, ...b.models].join("\n")).join("\n\n");
      this.topology = { of, text };
    }
    const topology = `${this.topology.text}|${[...shown.keys()].join("\n")}|${placed?.join("\n")}`;
    const unused = mesh.offered === state.mesh?.offered ? state.unused : unusedRoutes(mesh.offered);
    const now = performance.now();
    const activeRoutes = statusThen ? new Set() : this.rates.activeRoutes(mesh.inFlightByRoute, now);
    store.set({
      mesh,
      shown,
      topology,
      servers:
        topology === state.topology && unused === state.unused ? state.servers : serversOf(shown, unused),
      unused,
      matches,
      placed,
      activeRoutes: sameItems(state.activeRoutes, activeRoutes) ? state.activeRoutes : activeRoutes,
      rates: state.reducedMotion ? this.ratesNow(state.rates, now) : NO_RATES,
      historyVersion: this.history.version,
      queues: unlessEqual(state.queues, statusThen ? NO_QUEUES : doorsOf(mesh, shown)),
    });
    const end = this.rates.nextChange(now, state.reducedMotion);
    if (end !== null) this.activityTimer = window.setTimeout(() => this.update(), end - now + 20);
  }

  /** @param {Map<string, ShownBackend>} shown */
  findMatches(shown) {
    const { query, matches } = this.store.state;
    if (this.searched.query === query && this.searched.shown === shown) return matches;
    this.searched = { query, shown };
    return searchMesh(query, [...shown.values()], (id) => this.mesh?.backends.get(id)?.url ?? "");
  }

  /** Requests a second of each backend, as they are shown: to one decimal. @param {Map<string, number>} before @param {number} now */
  ratesNow(before, now) {
    /** @type {Map<string, number>} */
    const rates = new Map();
    for (const id of this.mesh?.backends.keys() ?? []) {
      const rate = Math.round(this.rates.totalRate(routeKey(id, ""), now) * 10) / 10;
      if (rate > 0) rates.set(id, rate);
    }
    return unlessEqual(before, rates);
  }

  /** @param {any} remembered what the service kept of the last hour @param {number} now */
  addHistory(remembered, now) {
    this.history.backfill(remembered, now);
    this.update();
  }

  /** @param {string|null} key @param {boolean} [center] whether the map goes close to it */
  select(key, center = false) {
    if (key === FOLD_KEY) {
      this.store.set({ unfolded: !this.store.state.unfolded });
      return this.update();
    }
    const before = this.store.state.selection.key;
    writeHash({ sel: key });
    this.store.set({ selection: { key, center } });
    if ([key, before].some((one) => one?.startsWith(`m:${LOCAL_ID}`))) this.update();
  }

  /** @param {Filters} filters */
  filter(filters) {
    writeHash({ hide: encodeFilters(filters) });
    this.store.set({ filters });
    this.update();
  }

  toggleUnhealthy() {
    this.filter(isFiltering(this.store.state.filters) ? noFilters() : onlyUnhealthy());
  }

  /** @param {string} query */
  search(query) {
    writeHash({ q: query || null });
    this.store.set({ query });
    this.update();
  }

  /** @param {number|null} moment a past step; null is now */
  showMoment(moment) {
    this.store.set({ moment });
    this.update();
  }

  /** @param {Partial<Settings>} change */
  changeSettings(change) {
    const settings = { ...this.store.state.settings, ...change };
    saveSettings(settings);
    this.store.set({ settings });
  }

  /** Seconds. */
  uptime() {
    return (Date.now() - this.store.state.startedAt) / 1000;
  }

  /** How long a health lasts, in seconds. @param {BackendView} backend */
  healthAge({ health }) {
    return health.since_s + (Date.now() - (this.healthSeenAt.get(health) ?? Date.now())) / 1000;
  }

  /** How long ago the shown moment was, in seconds. */
  momentAge() {
    const { moment } = this.store.state;
    return moment === null ? 0 : ((this.history.step - moment) * STEP_MS) / 1000;
  }

  pause() {
    clearTimeout(this.activityTimer);
    clearTimeout(this.updateTimer);
    this.updateTimer = 0;
  }
}

/** The map of before where nothing on it changed. @param {Map<string, ShownBackend>} before @param {ShownBackend[]} list */
function unlessSame(before, list) {
  let changed = before.size !== list.length;
  const ids = before.keys();
  const next = list.map((now) => {
    const old = before.get(now.id);
    const isSame =
      old !== undefined &&
      Object.entries(now).every(([field, value]) => old[/** @type {"id"} */ (field)] === value);
    changed ||= !isSame || ids.next().value !== now.id;
    return isSame ? old : now;
  });
  return changed ? new Map(next.map((b) => [b.id, b])) : before;
}

/** Which backends serve each model; those that offer it and are not used do not. @param {Map<string, ShownBackend>} shown @param {Set<string>} unused */
function serversOf(shown, unused) {
  /** @type {Map<string, string[]>} */
  const servers = new Map();
  for (const { id, models } of shown.values())
    for (const model of models) {
      const on = servers.get(model) ?? [];
      if (!unused.has(routeKey(id, model))) on.push(id);
      servers.set(model, on);
    }
  return servers;
}

/** @param {Mesh["offered"]} offered */
const unusedRoutes = (offered) =>
  new Set([...offered].flatMap(([model, ids]) => ids.map((id) => routeKey(id, model))));

/** @template T @param {Map<string, T>} before @param {Map<string, T>} now */
const unlessEqual = (before, now) =>
  before.size === now.size && [...now].every(([key, value]) => before.get(key) === value) ? before : now;

/** @param {Set<string>} a @param {Set<string>} b */
const sameItems = (a, b) => a.size === b.size && [...a].every((item) => b.has(item));
