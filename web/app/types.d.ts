/**
 * The shapes that cross module borders: first those of the wire (`/mesh/snapshot`, `/mesh/events`), then ours.
 * Ages are seconds, latencies milliseconds, lengths CSS pixels. For the type checker only: nothing loads this file.
 */
export type State = "healthy" | "warming" | "unhealthy" | "unknown";
/** What a backend looks like: its state, or `disabled` when its switch is off. */
export type Look = State | "disabled";
export type Ring = "machine" | "lan" | "company" | "cloud";
export type Requests = { total: number; successful: number; failed: number; in_flight: number };
export type Work = Requests & { first_byte_ms: number | null; tokens_in: number; tokens_out: number };
export type HealthView = { state: State; reason: string; text: string; fix: string; since_s: number };
export type BackendView = {
  id: string; name: string; kind: string; ring: Ring; url: string; enabled: boolean; source: string;
  health: HealthView; latency_ms: number | null; models: string[]; in_flight: number; requests: Work;
};
export type ModelView = { id: string; backends: string[]; requests: Work | null };
export type RouterView = { node_id: string; name: string; version: string; status: string; uptime_s: number; requests: Requests };
export type Snapshot = {
  seq: number; router: RouterView; light: "green" | "amber" | "red" | "grey"; light_reason: string;
  backends: BackendView[]; models: ModelView[]; notices: string[];
};
export type HealthChange = { id: string; enabled: boolean; health: HealthView; latency_ms: number | null };
export type RouteTraffic = { backend: string; model: string; started: number; ok: number; failed: number; in_flight: number };
export type Incident = { seq: number; backend: string; from: State; to: State; reason: string; text: string };

/** One backend as the picture shows it, now or at a past moment. */
export type Shown = {
  id: string; name: string; kind: string; ring: Ring; look: Look; latency: number | null; models: string[];
  busy: number; gone: boolean; reason: string; text: string;
};

export type Rect = { x: number; y: number; w: number; h: number };
/** A model under one backend; `rail` is the y of its row's line. */
export type Chip = Rect & { key: string; backend: string; model: string; rail: number };
/** A backend's card, with the room of it and its models; `rail` is the y of the line it hangs from, null beside the router. */
export type Box = Rect & { key: string; id: string; ring: Ring; rail: number | null; cell: Rect; chips: Chip[] };
export type Lane = Rect & { ring: Ring; backends: string[] };
/** `fit` is the scale at which the world fills the window, `hub` how much larger than life the hubs are drawn in it. */
export type Layout = {
  style: "wide" | "stacked"; dense: boolean; w: number; h: number; fit: number; hub: number; user: Rect; router: Rect;
  lanes: Lane[]; boxes: Box[]; byKey: Map<string, Box | Chip>;
};
/** screen = world · k + (x, y) */
export type Camera = { x: number; y: number; k: number };
