/** The page wakes, and rests while nobody looks. */
import { call, onLocked } from "../core/api.js";
import { App } from "../core/app.js";
import { $ } from "./dom.js";
import { Feed } from "../core/events.js";
import { addFromLink } from "../dialogs/backend_dialog.js";
import { learnKinds } from "../core/kinds.js";
import { WISHES, dress, readHash, takeLink, writeHash } from "../core/settings.js";
import { joinHeader } from "./header.js";
import { joinKeys } from "./keys.js";
import { askForKey } from "../core/session.js";
import { joinPeers, showPeers } from "../dialogs/peers.js";
import { backendOf } from "../map/selection.js";

let link = takeLink();
const app = new App();
const feed = new Feed(
  {
    snapshot: () => call("GET", "/mesh/snapshot"),
    open: () => new EventSource("/mesh/events"),
    now: () => Date.now(),
    later: (run, ms) => window.setTimeout(run, ms),
    never: (timer) => clearTimeout(timer),
    random: Math.random,
  },
  {
    event: (name, data) => app.event(name, data),
    line: (line) => (app.lineIs(line), line === "live" && void remember()),
    locked: () => onLocked.locked(),
  },
);

const rest = () => (feed.pause(), app.rest());
const wake = () => (feed.start(), void remember());

async function begin() {
  try {
    const [view] = await Promise.all([call("GET", "/mesh/snapshot"), learnKinds()]);
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
  if (link?.host) showPeers(undefined, link);
  else if (link) addFromLink(link);
  else if ("peers" in readHash()) (writeHash({ peers: null }), showPeers());
  link = null;
}

/** Fill what was not seen with what the service remembers. */
async function remember() {
  const asked = Date.now();
  void learnKinds().catch(() => {});
  const past = await call("GET", "/mesh/history").catch(() => null);
  if (!past) return;
  app.history.seed(past, asked);
  app.update();
}

onLocked.locked = () => {
  feed.pause();
  askForKey(() => void begin());
};
joinHeader(app);
joinKeys(app);
joinPeers(app);
dress(app);
new ResizeObserver(() => app.measure()).observe($("stage"));
for (const wish of WISHES) matchMedia(wish).addEventListener("change", () => (dress(app), app.update()));
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : wake()));
// WebView2 can't tell when it is hidden: its window does.
window.addEventListener("meshlight-rest", rest);
window.addEventListener("meshlight-wake", wake);
window.addEventListener("hashchange", () => ((link = takeLink()), offer()));
window.addEventListener("online", () => feed.connect());
void begin();
