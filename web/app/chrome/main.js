/** Joins the page's parts: the state, what draws it, and the stream of the service's events. */
import { callApi, errorText, onLocked } from "../core/api.js";
import { App } from "../core/app.js";
import { EventStream } from "../core/events.js";
import { FONT, displayName, forgetTextWidths, formatDuration } from "../core/format.js";
import { loadKinds } from "../core/kinds.js";
import { LOCAL_ID, wantsAnswer } from "../core/local_models.js";
import { askForKey } from "../core/session.js";
import { MEDIA_QUERIES, readHash, resolveTheme, takeDeepLink, writeHash } from "../core/settings.js";
import { addFromLink } from "../dialogs/backend_dialog.js";
import { initPeers, loadPeers, openPeersDialog, setPeers } from "../dialogs/peers.js";
import { emptyReason, showEmptyState } from "../map/empty_state.js";
import { drawLegend } from "../map/legend.js";
import { MapView } from "../map/map_view.js";
import { Minimap } from "../map/minimap.js";
import { backendOf, highlightedKeys, noFilters } from "../map/selection.js";
import { Panel } from "../panel/panel.js";
import { Timeline } from "../panel/timeline.js";
import { Tooltip } from "../panel/tooltip.js";
import { $, announce } from "./dom.js";
import { initHeader } from "./header.js";
import { initKeys } from "./keys.js";
import { Table } from "./table.js";
import { initOpeners, openApps, openSettings } from "./open.js";

/** Over how long the requests of one event set out. */
const TRAFFIC_MS = 250;

/** What `#name` or `#name=where` opens. @type {Record<string, (at:string)=>unknown>} */
const PAGES = { peers: () => openPeersDialog(), apps: openApps, settings: openSettings };

let link = takeDeepLink();
const app = new App(readHash(), {
  announce,
  showTraffic: (route) => map.showTraffic(route, TRAFFIC_MS),
});
const { store, history } = app;
/** @type {PanelContext} */
const context = {
  store,
  history,
  select: (key, center) => app.select(key, center),
  uptime: () => app.uptime(),
  healthAge: (backend) => app.healthAge(backend),
  momentAge: () => app.momentAge(),
  loadLocal,
};
const { select } = context;
const showNow = () => app.showMoment(null);

const map = new MapView(
  {
    root: $("map"),
    edges: $("edges"),
    particles: $("particles"),
    world: $("world"),
    headers: $("lane-headers"),
  },
  { moved: () => (minimap.update(), tooltip.follow()), cleared: () => select(null) },
);
const minimap = new Minimap(map);
const tooltip = new Tooltip(
  context,
  (key, w, h) => map.leastCoveringSpot(key, w, h),
  (key) => app.rates.rate(key, performance.now()),
);
new Panel(context);
new Table(store, select);
new Timeline(store, history, (moment) => app.showMoment(moment));

/** What the router's card says, number by number. @param {AppState} state */
const routerLines = ({ mesh }) =>
  mesh
    ? [
        mesh.router.name,
        mesh.router.status,
        formatDuration(app.uptime()),
        ...Object.values(mesh.router.requests),
      ]
    : [];

function showMap() {
  const { state } = store;
  const { mesh, shown, servers, selection, matches, moment } = state;
  if (!mesh) return;
  map.show({
    ...state,
    backends: shown,
    selected: selection.key,
    matches: matches?.keys ?? null,
    highlighted: highlightedKeys(selection.key, shown, servers),
    pathOf: (key) => highlightedKeys(key, shown, servers),
    active: state.activeRoutes,
    // What it was like in the past is not kept.
    local: moment === null ? state.local : null,
    mesh: moment === null ? mesh : null,
    hub: {
      name: displayName(mesh.router.name),
      status: mesh.router.status,
      uptime: formatDuration(app.uptime()),
      requests: mesh.router.requests,
    },
  });
}
store.subscribe(
  (s) => [
    s.shown,
    s.topology,
    s.unused,
    s.selection.key,
    s.matches,
    s.activeRoutes,
    s.rates,
    s.queues,
    s.mesh?.topology,
    s.placed,
    s.localLook,
    s.moment,
    ...routerLines(s),
  ],
  showMap,
);
store.subscribe(
  (s) => s.selection,
  ({ key, center }, { key: before }) => {
    tooltip.show(null);
    if (key !== before) map.select(key, before, center);
  },
);
store.subscribe(
  (s) => s.filters,
  () => map.tidy(),
);
store.subscribe(
  (s) => s.moment,
  (moment) => {
    document.body.classList.toggle("past", moment !== null);
    if (moment !== null) map.particles.clear();
  },
);
store.subscribe(
  (s) => s.connection,
  (connection) => document.body.classList.toggle("stale", connection !== "live"),
);
store.subscribe(emptyReason, (reason) =>
  showEmptyState(reason, { showAll: () => app.filter(noFilters()), showNow }),
);
/** @type {Promise<void>|null} */
let welcome = null;
/** Loaded where there is nothing yet, a demo, or a first run that is not over. */
const showWelcome = () =>
  (welcome ??= import("../welcome/welcome.js").then(({ startWelcome }) =>
    startWelcome(store, { refresh, openLocal: () => select(`b:${LOCAL_ID}`) }),
  )).catch((error) => ((welcome = null), announce(errorText(error))));
store.subscribe(
  (s) =>
    emptyReason(s) === "none" ||
    [...(s.mesh?.backends.values() ?? [])].some(({ source }) => source === "demo"),
  (isNeeded) => isNeeded && void showWelcome(),
);
store.subscribe((s) => s.settings, applySettings);
store.subscribe(
  (s) => s.unused.size > 0,
  (some) => document.body.classList.toggle("with-offers", some),
);

/** Put the settings, and what the system wishes, on the page. */
function applySettings() {
  const { settings } = store.state;
  const theme = resolveTheme(settings.theme);
  const reducedMotion = matchMedia(MEDIA_QUERIES[3]).matches;
  const isTable = settings.view === "table";
  document.documentElement.dataset.theme = theme;
  $("map").hidden = isTable;
  $("table").hidden = !isTable;
  $("view-button").ariaPressed = isTable;
  writeHash({ view: isTable ? "table" : null });
  map.reducedMotion = reducedMotion;
  if (reducedMotion || isTable) map.particles.clear();
  map.setTheme(theme);
  drawLegend(settings.legend, () => app.changeSettings({ legend: !settings.legend }));
  if (!isTable) map.measure();
  store.set({ theme, reducedMotion });
  app.update();
}

async function refresh() {
  try {
    await callApi("POST", "/mesh/refresh");
  } catch (error) {
    announce(errorText(error));
  }
}

const stream = new EventStream(
  {
    snapshot: () => callApi("GET", "/mesh/snapshot"),
    openStream: () => new EventSource("/mesh/events"),
    now: () => Date.now(),
    setTimer: (run, ms) => window.setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
    random: Math.random,
  },
  {
    event: takeEvent,
    connection: (connection) => {
      store.set({ connection });
      if (connection === "live") void loadHistory();
    },
    locked: () => onLocked.locked(),
  },
);

/** @param {string} name @param {any} data */
function takeEvent(name, data) {
  const before = app.mesh?.seq;
  const { local } = store.state;
  app.event(name, data);
  if (data.apps) dispatchEvent(new CustomEvent("meshlight-apps", { detail: data.apps }));
  if (name === "settings" || name === "snapshot") document.dispatchEvent(new Event("meshlight-settings"));
  if (name === "peers") setPeers(data.peers);
  else if (name === "snapshot" && before !== data.seq) {
    void loadPeers();
    void loadLocal();
  } else if (name === "local" ? wantsAnswer(local, data) : name === "topology" && hasLocal(data))
    void loadLocal();
  document.body.dataset.seq = String(app.mesh?.seq);
}

/** @param {{backends?:BackendView[]}} event */
const hasLocal = ({ backends }) => backends?.some((b) => b.id === LOCAL_ID);

/** Ask for all about this machine's models, where it has any or nothing else is there. */
async function loadLocal() {
  const { mesh, local } = store.state;
  if (!mesh || !(local || mesh.backends.has(LOCAL_ID) || !mesh.backends.size)) return;
  const asked = app.localRevision;
  const answer = await callApi("GET", "/mesh/models").catch(() => null);
  if (answer) app.takeLocal(answer, asked);
}

/** While nobody sees the page, nothing runs. */
function pause() {
  stream.pause();
  map.particles.clear();
  app.pause();
}

function resume() {
  stream.start();
  void loadHistory();
}

/** Names are measured and drawn with the page's font; without it in a second, with the system's. */
const fontReady = new Promise((done) => {
  setTimeout(done, 1000);
  void document.fonts.load(`12px ${FONT}`).finally(() => {
    forgetTextWidths();
    map.redraw();
    done(null);
  });
});

async function begin() {
  try {
    const [snapshot] = await Promise.all([callApi("GET", "/mesh/snapshot"), loadKinds(), fontReady]);
    takeEvent("snapshot", snapshot);
  } catch {
    // Locked: the form is there. Unreachable: the stream goes on trying.
  }
  const { sel } = readHash();
  if (sel && (sel.length === 1 || store.state.shown.has(backendOf(sel)))) select(sel, true);
  if (!$("session").hidden) return;
  followLink();
  if (!document.hidden) stream.start();
  await loadHistory();
  const first = await callApi("GET", "/mesh/welcome").catch(() => null);
  if (first && !first.is_over) void showWelcome();
}

/** Open the dialog that a deep link asked for; only a person adds. */
function followLink() {
  if (link?.host) openPeersDialog(undefined, link);
  else if (link) addFromLink(link);
  else
    for (const [name, open] of Object.entries(PAGES)) {
      const at = readHash()[name];
      if (at === undefined) continue;
      writeHash({ [name]: null });
      void open(at);
    }
  link = null;
}

/** Fill the time before the page was opened with what the service remembers. */
async function loadHistory() {
  const asked = Date.now();
  void loadKinds().catch(() => {});
  const past = await callApi("GET", "/mesh/history").catch(() => null);
  if (past) app.addHistory(past, asked);
}

onLocked.locked = () => {
  stream.pause();
  askForKey(() => void begin());
};
initHeader(store, map, {
  select,
  refresh,
  search: (query) => app.search(query),
  filter: (filters) => app.filter(filters),
  toggleUnhealthy: () => app.toggleUnhealthy(),
  changeSettings: (change) => app.changeSettings(change),
});
initKeys(store, map, { select, showNow, hideTooltip: () => tooltip.show(null) });
initPeers(store, select);
initOpeners(context, (change) => app.changeSettings(change));
applySettings();
new ResizeObserver(() => map.measure()).observe($("map"));
for (const query of MEDIA_QUERIES) matchMedia(query).addEventListener("change", applySettings);
document.addEventListener("visibilitychange", () => (document.hidden ? pause() : resume()));
// WebView2 can't tell when it is hidden: its window does.
window.addEventListener("meshlight-rest", pause);
window.addEventListener("meshlight-wake", resume);
window.addEventListener("hashchange", () => {
  link = takeDeepLink();
  followLink();
});
window.addEventListener("online", () => stream.connect());
void begin();
