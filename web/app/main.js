/** The page's life: it wakes, holds the live line, and rests while nobody looks. */
import { call, onLocked } from "./api.js";
import { App } from "./app.js";
import { $ } from "./dom.js";
import { Feed } from "./feed.js";
import { WISHES, dress, readHash } from "./settings.js";
import { joinHeader } from "./header.js";
import { joinKeys } from "./keys.js";
import { askForKey } from "./session.js";
import { backendOf } from "./picture.js";

const app = new App();
const feed = new Feed({
  snapshot: () => call("GET", "/mesh/snapshot"), open: () => new EventSource("/mesh/events"), now: () => Date.now(),
  later: (run, ms) => window.setTimeout(run, ms), never: (timer) => clearTimeout(timer), random: Math.random,
}, { event: (name, data) => app.event(name, data), line: (line) => (app.lineIs(line), line === "live" && void remember()), locked: () => onLocked.locked() });

/** Hidden: nothing runs. */
const rest = () => (feed.pause(), app.rest());
const wake = () => (feed.start(), void remember());

async function begin() {
  try {
    app.event("snapshot", await call("GET", "/mesh/snapshot"));
  } catch {
    // Locked: the form is there. Unreachable: the feed goes on trying.
  }
  const { sel } = readHash();
  if (sel && (sel.length === 1 || app.shown.has(backendOf(sel)))) app.select(sel, true);
  if (!$("session").hidden) return;
  if (!document.hidden) feed.start();
  await remember();
}

/** Fill what was not seen with what the service remembers. */
async function remember() {
  const asked = Date.now();
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
dress(app);
new ResizeObserver(() => app.measure()).observe($("stage"));
for (const wish of WISHES) matchMedia(wish).addEventListener("change", () => (dress(app), app.update()));
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : wake()));
// WebView2 can't tell when it is hidden: its window does.
window.addEventListener("meshlight-rest", rest);
window.addEventListener("meshlight-wake", wake);
window.addEventListener("online", () => feed.connect());
void begin();
