/** The slots of backends and who waits for them, in words and marks. Pure. */
import { displayName, formatDuration, joined, plural } from "./format.js";
import { routeKey } from "./mesh.js";

/** With more slots than these, numbers stand for the pips. */
const PIPS_MOST = 8;

/** Where no slots are told, nothing; those of the model with most count. @param {BackendView|null} [backend] */
export function slotsOf(backend) {
  const told = Object.values(backend?.details ?? {}).map((detail) => detail.slots ?? 0);
  const all = Math.max(backend?.slots ?? 0, ...told);
  const busy = backend?.in_flight ?? 0;
  if (!all || !backend?.enabled) return { pips: "", text: "" };
  return {
    text: `${busy} of ${plural(all, "slot")} busy`,
    // Its models may have slots of their own.
    pips: all > PIPS_MOST || busy > all ? `${busy}/${all}` : "●".repeat(busy).padEnd(all, "○"),
  };
}

/** Short, for the map. @param {ModelView} [model] */
export const queueText = (model) => {
  const { waiting, expected_s } = model?.queue ?? {};
  return waiting ? `${waiting} waiting${expected_s ? `, ~${formatDuration(expected_s)}` : ""}` : "";
};

/** Who waits, and for how long. @param {ModelView} [model] */
export function queueDetails(model) {
  const queue = model?.queue;
  if (!queue) return "";
  const longest = formatDuration(queue.longest_s + (Date.now() - queue.at) / 1000);
  const callers = queue.callers.map(({ name, waiting }) => `${displayName(name)} ${waiting}`);
  return joined(queueText(model), `longest ${longest}`, callers.join(", "));
}

/** Each model has one queue: it stands at one door, that of the first backend with slots. @param {Mesh} mesh @param {Map<string, unknown>} shown */
export function doorsOf({ models, backends }, shown) {
  /** @type {AppState["queues"]} */
  const doors = new Map();
  for (const model of models.values()) {
    if (!model.queue) continue;
    const on = model.backends.filter((id) => shown.has(id));
    doors.set(routeKey(on.find((id) => slotsOf(backends.get(id)).text) ?? on[0], model.id), model);
  }
  return doors;
}
