/** The kinds of backend and what each asks for, as the service tells them. */
import { callApi } from "./api.js";

/** @type {Map<string, Kind>} */
export const KINDS = new Map();

/** Asked once: a service of another version comes with another page. */
export async function loadKinds() {
  if (KINDS.size) return;
  for (const kind of (await callApi("GET", "/mesh/kinds")).kinds) KINDS.set(kind.kind, kind);
}

/** @param {string} kind */
export const kindLabel = (kind) => KINDS.get(kind)?.label ?? kind;

/** @type {[string, (kind:Kind)=>unknown][]} */
const GROUPS = [
  ["Cloud", (k) => k.group === "cloud"],
  ["This machine", (k) => k.group === "engine" && k.port],
  ["Router", (k) => k.group === "router"],
  ["Cluster", (k) => k.group === "cluster"],
  ["Other", (k) => k.group === "engine" && !k.port],
];

/** The kinds that the dialog offers; peers are paired instead. */
export const kindGroups = () =>
  GROUPS.map(([title, isIn]) => ({
    title,
    kinds: [...KINDS.values()].filter((k) => k.kind !== "local" && isIn(k)),
  })).filter((g) => g.kinds.length);

/** @param {string} kind */
export const isCluster = (kind) => KINDS.get(kind)?.group === "cluster";

/** Whether a link can lead another Meshlight there. @param {string} [kind] */
export const isShareable = (kind = "") => kind !== "local" && (KINDS.get(kind)?.group ?? "peer") !== "peer";
