/** The page wakes, and rests while nobody looks. */
import { callApi, onLocked } from "../core/api.js";
import { App } from "../core/app.js";
import { $ } from "./dom.js";
import { EventStream } from "../core/events.js";
import { addFromLink } from "../dialogs/backend_dialog.js";
import { loadKinds } from "../core/kinds.js";
import { MEDIA_QUERIES, applySettings, readHash, takeDeepLink, writeHash } from "../core/settings.js";
import { initHeader } from "./header.js";
import { initKeys } from "./keys.js";
import { askForKey } from "../core/session.js";
import { initPeers, openPeersDialog } from "../dialogs/peers.js";
import { backendOf } from "../map/selection.js";

let link = takeDeepLink();
const app = new App();
const feed = new EventStream(
  {
    snapshot: () => callApi("GET", "/mesh/snapshot"),
    openStream: () => new EventSource("/mesh/events"),
    now: () => Date.now(),
    setTimer: (run, ms) => window.setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
    random: Math.random,
  },
  {
    event: (name, data) => app.event(name, data),
    connection: (line) => (app.setConnection(line), line === "live" && void remember()),
    locked: () => onLocked.locked(),
  },
);

const rest = () => (feed.pause(), app.pause());
const wake = () => (feed.start(), void remember());

async function begin() {
  try {
    const [view] = await Promise.all([callApi("GET", "/mesh/snapshot"), loadKinds()]);
    app.event("snapshot", view);
  } catch {
    // Locked: the form is there. Unreachable: the feed goes on trying.
  }
  const { sel } = readHash();
  if (sel && (sel.length === 1 || app.shown.has(backendOf(sel)))) app.select(sel, true);
  if (!$("session").hidden) return;
  offer();
  if (!document.hidden) feed.start();
  await remember();
}

/** Open the dialog that a deep link asked for; only a person adds. */
function offer() {
  if (link?.host) openPeersDialog(undefined, link);
  else if (link) addFromLink(link);
  else if ("peers" in readHash()) (writeHash({ peers: null }), openPeersDialog());
  link = null;
}

/** Fill what was not seen with what the service remembers. */
async function remember() {
  const asked = Date.now();
  void loadKinds().catch(() => {});
  const past = await callApi("GET", "/mesh/history").catch(() => null);
  if (!past) return;
  app.history.backfill(past, asked);
  app.update();
}

onLocked.locked = () => {
  feed.pause();
  askForKey(() => void begin());
};
initHeader(app);
initKeys(app);
initPeers(app);
applySettings(app);
new ResizeObserver(() => app.measure()).observe($("map"));
for (const wish of MEDIA_QUERIES)
  matchMedia(wish).addEventListener("change", () => (applySettings(app), app.update()));
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : wake()));
// WebView2 can't tell when it is hidden: its window does.
window.addEventListener("meshlight-rest", rest);
window.addEventListener("meshlight-wake", wake);
window.addEventListener("hashchange", () => ((link = takeDeepLink()), offer()));
window.addEventListener("online", () => feed.connect());
void begin();
