/** This machine's own models: what the service tells of them, and how it is said. Pure. */
import { formatBytes, formatDuration, joined, plural } from "./format.js";
import { routeKey } from "./mesh.js";

/** The backend that runs them. */
export const LOCAL_ID = "this-machine";
/** In the place of a model's id: the entry that stands for those on disk. No id begins with this character. */
export const FOLD = "\u0001";
export const FOLD_KEY = routeKey(LOCAL_ID, FOLD);
/** With more models than these, those on disk are folded into one entry. */
const UNFOLDED_MOST = 4;

/** @type {Record<LocalModel["state"], string>} */
const STATE_WORDS = {
  "on-disk": "on disk",
  waiting: "waiting for memory",
  loading: "loading",
  ready: "loaded",
  draining: "unloading",
  failed: "failed",
  missing: "file gone",
};

/** @param {LocalModel[]} models */
const byId = (models) => new Map(models.map((m) => [m.id, m]));

/** What was answered; of what events have overtaken, the newer. @param {any} sent @param {number} at @param {LocalView|null} newer @returns {LocalView} */
export function fromAnswer(sent, at, newer) {
  const { models = byId(sent.models), memory, downloads } = newer ?? {};
  return { ...sent, models, memory: memory ?? sent.memory, downloads: downloads ?? sent.downloads, at };
}

/** @param {LocalView} before @param {any} event @param {number} at @returns {LocalView} */
export function withLocalEvent(before, { models: changed, removed, memory, downloads }, at) {
  const models = new Map([...before.models, ...byId(changed)]);
  for (const id of removed) models.delete(id);
  return { ...before, models, memory, downloads, at };
}

/** Whether an event means that what it does not tell has changed: stores, starters, runners, unusable files. @param {LocalView|null} before @param {any} event */
export const wantsAnswer = (before, { revision }) => before?.revision !== revision;

/** The entries of this machine on the map: those in use, then those on disk or one entry for all of them. @param {LocalView} local @param {string[]} routed @param {boolean} isUnfolded @param {(model:string)=>boolean} stays */
export function placedModels({ models }, routed, isUnfolded, stays) {
  const isOnDisk = (/** @type {string} */ id) => (models.get(id)?.state ?? "on-disk") === "on-disk";
  const failed = [...models.values()].filter((m) => m.state === "failed" && !m.hidden).map((m) => m.id);
  const ids = [...new Set([...routed, ...failed])];
  const resting = ids.filter(isOnDisk);
  const using = ids.filter((id) => !isOnDisk(id));
  if (ids.length <= UNFOLDED_MOST || resting.length < 2) return [...using, ...resting];
  if (isUnfolded) return [...using, ...resting, `${FOLD}fold`];
  const found = resting.filter(stays);
  const rest = resting.length - found.length;
  return [...using, ...found, ...(rest ? [`${FOLD}${rest} on disk`] : [])];
}

/** Whether it takes memory now. @param {LocalModel} model */
export const isInMemory = ({ state }) => ["loading", "ready", "draining"].includes(state);

/** In whole percent; null where nothing is known. @param {LocalModel} model */
export const percentOf = ({ progress }) => (progress === null ? null : Math.floor(progress * 100));

/** The state in words. @param {LocalModel} model */
export function stateText(model) {
  const percent = model.state === "loading" ? percentOf(model) : null;
  return (STATE_WORDS[model.state] ?? "on disk") + (percent === null ? "" : ` ${percent} %`);
}

/** What it is doing and how long that lasts. @param {LocalModel} model @param {number} at when that was told */
export function activityText({ in_flight, waiting, idle_s, expires_in_s, keep, state }, at) {
  const age = (Date.now() - at) / 1000;
  const isResting = state === "ready" && !in_flight;
  return joined(
    in_flight && `answers ${plural(in_flight, "request")}`,
    waiting && `${plural(waiting, "request")} waiting`,
    isResting && idle_s !== null && `idle ${formatDuration(idle_s + age)}`,
    keep && "kept",
    isResting && expires_in_s !== null && `unloads in ${formatDuration(expires_in_s - age)}`,
  );
}

/** What matters on the map, as one text. @param {LocalView} local */
export const lookOf = (local) =>
  JSON.stringify([
    [...local.models.values()].map((m) => [m.id, stateText(m), m.hidden, m.reason]),
    memoryPart(local.memory).toFixed(2),
    summaryText(local),
  ]);

/** How full the memory for models is, 0 to 1. @param {LocalView["memory"]} memory */
export const memoryPart = ({ models_bytes, budget_bytes }) => Math.min(1, models_bytes / (budget_bytes || 1));

/** @param {LocalView["memory"]} memory */
export const memoryText = ({ models_bytes, budget_bytes }) =>
  `${formatBytes(models_bytes)} of ${formatBytes(budget_bytes)}`;

/** @param {LocalView["memory"]} memory */
export const freeText = ({ models_bytes, budget_bytes }) =>
  formatBytes(Math.max(0, budget_bytes - models_bytes));

/** What the card says: how many are loaded, how far downloads have come, and the memory they take. @param {LocalView} local */
export function summaryText({ models, downloads, memory }) {
  const all = [...models.values()].filter((m) => !m.hidden);
  const running = downloads.filter((d) => d.state === "running");
  const total = running.reduce((n, d) => n + d.total_bytes, 0);
  const done = running.reduce((n, d) => n + d.done_bytes, 0);
  return joined(
    all.length ? `${all.filter((m) => m.state === "ready").length} of ${all.length} loaded` : "no models yet",
    running.length && `↓ ${Math.floor((100 * done) / (total || 1))} %`,
    memoryText(memory),
  );
}

/** Whether it fits, in words. @param {Fit} fits @param {number} [short] by how many bytes it is too big */
export const fitText = (fits, short) =>
  fits === "now"
    ? "fits"
    : fits === "after-unloading"
      ? "fits once others are unloaded"
      : short
        ? `too big by ${formatBytes(short)}`
        : "too big for this machine";
