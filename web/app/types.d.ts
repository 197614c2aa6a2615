/**
 * The shapes that cross module borders: first those of the wire (`/mesh/snapshot`, `/mesh/events`), then ours.
 * Ages are seconds, latencies milliseconds, lengths CSS pixels. For the type checker only: nothing loads this file.
 */
type Store<T> = import("./core/store.js").Store<T>;
type MeshHistory = import("./core/history.js").History;
type MapView = import("./map/map_view.js").MapView;
type Context2D = CanvasRenderingContext2D;
type Theme = "dark" | "light" | "contrast" | "forced";

/** What is not there to be shown. */
type Missing = null | undefined | false | "";

type State = "healthy" | "warming" | "unhealthy" | "unknown";
/** What a backend looks like: its state, or `disabled` when its switch is off. */
type Status = State | "disabled";
/** What is written on a backend: its status, or that it answers and can serve nothing. */
type StatusLabel = Status | "degraded";
type Ring = "machine" | "lan" | "company" | "cloud";
type Requests = { total: number; successful: number; failed: number; in_flight: number };
type RequestStats = Requests & {
  first_byte_ms: number | null;
  tokens_in: number;
  tokens_out: number;
  tokens_out_estimated?: number;
};
type HealthView = { state: State; reason: string; text: string; fix: string; since_s: number };
type BackendView = {
  id: string;
  name: string;
  kind: string;
  ring: Ring;
  url: string;
  enabled: boolean;
  source: string;
  health: HealthView;
  latency_ms: number | null;
  models: string[];
  in_flight: number;
  requests: RequestStats;
  access_key: string;
  ca_file: string;
  proxy: string;
  given_models: string[];
  details: Record<string, Detail>;
  about: Record<string, string>;
  warnings: string[];
  degraded: string;
  /** whether its models can be loaded and unloaded from here */
  can_load: boolean;
  /** as the user set them, for each model */
  slots: number | null;
};
type ModelView = {
  id: string;
  backends: string[];
  requests: RequestStats | null;
  /** who waits for a slot; null while none does */
  queue: QueueView | null;
};
/** `at`: when it came, in milliseconds of the page's clock */
type QueueView = {
  waiting: number;
  longest_s: number;
  expected_s: number | null;
  callers: { name: string; waiting: number }[];
  at: number;
};
/** `at`: as of a queue */
type Decision = {
  model: string;
  backend: string;
  why: string;
  age_s: number;
  loaded: boolean | null;
  kept: boolean | null;
  waited_s: number;
  count: number;
  at: number;
};
type RouterView = {
  node_id: string;
  name: string;
  version: string;
  status: string;
  uptime_s: number;
  requests: Requests;
};
type Snapshot = {
  seq: number;
  router: RouterView;
  light: "green" | "amber" | "red" | "grey";
  light_reason: string;
  backends: BackendView[];
  models: ModelView[];
  offered: Record<string, string[]>;
  notices: string[];
};
/** One line of `/mesh/findings`; either `command` or `button` is what to do. */
type Finding = {
  kind: string;
  severity: "suffer" | "look";
  evidence: string;
  why: string;
  fix: string;
  command: string;
  button: "" | "check" | "disable";
  backend: string;
  model: string;
};
type Detail = {
  context?: number;
  loaded?: boolean;
  slots?: number;
  quantization?: string;
  parameters?: string;
  capabilities?: string[];
};
type HealthChange = {
  id: string;
  enabled: boolean;
  health: HealthView;
  latency_ms: number | null;
  about: Record<string, string>;
  warnings: string[];
  degraded: string;
};
type RouteTraffic = {
  backend: string;
  model: string;
  started: number;
  ok: number;
  failed: number;
  in_flight: number;
};
type Incident = { seq: number; backend: string; from: State; to: State; reason: string; text: string };

/** One backend as the page shows it, now or at a past moment. */
type ShownBackend = {
  id: string;
  name: string;
  kind: string;
  ring: Ring;
  status: Status;
  latency: number | null;
  models: string[];
  removed: boolean;
  reason: string;
  text: string;
  /** why it can serve nothing though it is healthy; empty when it can, and at a past moment */
  degraded: string;
};

// local_models.js, as `/mesh/models` has it
type LocalModel = {
  id: string;
  state: "on-disk" | "waiting" | "loading" | "ready" | "draining" | "failed" | "missing";
  progress: number | null;
  reason: Why | null;
  purpose: "chat" | "embedding" | "rerank";
  size_bytes: number;
  need_bytes: number;
  fits: Fit;
  context: number;
  context_max: number;
  quantization: string;
  parameters: string;
  architecture: string;
  sees_images: boolean;
  runner: string;
  store: string;
  load_s: number | null;
  idle_s: number | null;
  expires_in_s: number | null;
  keep: boolean;
  in_flight: number;
  waiting: number;
  can_delete: boolean;
  hidden: boolean;
};
type Why = { code: string; text: string; fix: string };
type Fit = "now" | "after-unloading" | "never";
type RunnerView = {
  name: string;
  label: string;
  version: string;
  is_usable: boolean;
  why_not: string;
  fix: string;
};
type DownloadView = {
  id: string;
  name: string;
  state: "queued" | "running" | "paused" | "checking" | "done" | "failed";
  done_bytes: number;
  total_bytes: number;
  bytes_per_s: number | null;
  reason: Why | null;
  model: string;
};
type StarterView = {
  name: string;
  label: string;
  size_bytes: number;
  licence: string;
  good_for: string;
  engine_bytes: number;
  fits: Fit;
  is_here: boolean;
};
type RepositoryFile = {
  name: string;
  quantization: string;
  size_bytes: number;
  parts: number;
  fits: Fit;
  short_bytes: number;
  sees_images: boolean;
  is_here: boolean;
};
type LocalView = {
  enabled: boolean;
  models: Map<string, LocalModel>;
  runners: RunnerView[];
  devices: { name: string; total_bytes: number; free_bytes: number }[];
  memory: { total_bytes: number; available_bytes: number; models_bytes: number; budget_bytes: number };
  stores: { store: string; label: string; models: number; note: string }[];
  rejected: { name: string; store: string; why: string }[];
  downloads: DownloadView[];
  starters: StarterView[];
  can_run: boolean;
  can_start: boolean;
  /** another one when more than models, memory and downloads has changed */
  revision: number;
  /** when it was told: milliseconds of the page's clock */
  at: number;
};

// app.js
type AppState = {
  mesh: Mesh | null;
  /** milliseconds of the page's clock */
  startedAt: number;
  connection: "live" | "stale" | "lost";
  /** what the layout depends on: changes with it alone */
  topology: string;
  shown: Map<string, ShownBackend>;
  /** by model: the ids of the backends that serve it */
  servers: Map<string, string[]>;
  /** keys of the routes that a found engine or a peer offers and that are not used */
  unused: Set<string>;
  /** this machine's own models; null until they are known */
  local: LocalView | null;
  /** what the map shows of them, as a text */
  localLook: string;
  /** what stands on the map for them, where those on disk are folded */
  placed: string[] | null;
  /** whether those on disk are listed all the same */
  unfolded: boolean;
  activeRoutes: Set<string>;
  rates: Map<string, number>;
  /** by the key of the model at whose door they stand: the models for which requests wait */
  queues: Map<string, ModelView>;
  filters: Filters;
  query: string;
  matches: { keys: Set<string>; backends: number; models: number } | null;
  /** anew for each choice; `center`: whether the map goes close to it */
  selection: { key: string | null; center: boolean };
  /** a past step; null is now */
  moment: number | null;
  historyVersion: number;
  settings: Settings;
  theme: Theme;
  reducedMotion: boolean;
};
/** What the panels may know and do. */
type PanelContext = {
  store: Store<AppState>;
  history: MeshHistory;
  select: (key: string | null, center?: boolean) => void;
  uptime: () => number;
  healthAge: (backend: BackendView) => number;
  momentAge: () => number;
  loadLocal: () => Promise<void>;
};

// header.js
type HeaderActions = {
  select: PanelContext["select"];
  search: (query: string) => void;
  filter: (filters: Filters) => void;
  toggleUnhealthy: () => void;
  refresh: () => void;
  changeSettings: (change: Partial<Settings>) => void;
};

type Size = { w: number; h: number };
type Rect = { x: number; y: number; w: number; h: number };
/** A model under one backend; `rail` is the y of its row's line. */
type Chip = Rect & { key: string; backend: string; model: string; rail: number };
/** A backend's card, with the room of it and its models; `rail` is the y of the line it hangs from, null beside the router. */
type Box = Rect & { key: string; id: string; ring: Ring; rail: number | null; cell: Rect; chips: Chip[] };
type Lane = Rect & { ring: Ring; backends: string[] };
/** `fit` is the scale at which the world fills the window, `hub` how much larger than life the hubs are drawn in it. */
type Layout = {
  style: "wide" | "dense";
  w: number;
  h: number;
  fit: number;
  hub: number;
  user: Rect;
  router: Rect;
  lanes: Lane[];
  boxes: Box[];
  byKey: Map<string, Box | Chip>;
};
/** screen = world · k + (x, y) */
type Camera = { x: number; y: number; k: number };

// cards.js
type Card = { el: HTMLButtonElement; signature: string };
type RouterSummary = { name: string; status: string; uptime: string; requests: Requests };

// colours.js
type StatusColours = Record<Status, string>;
/** `tile`: how opaque a quiet far-away model is */
type Palette = {
  statuses: StatusColours;
  page: string;
  lane: string;
  laneLine: string;
  line: string;
  ink: string;
  muted: string;
  accent: string;
  quietModelAlpha: number;
};

// edges.js
/** `cards`: keys that are elements, not to be drawn here */
type Scene = {
  layout: Layout;
  camera: Camera;
  view: Size;
  pixelRatio: number;
  palette: Palette;
  level: "near" | "mid" | "far";
  shown: Map<string, ShownBackend>;
  unused: Set<string>;
  local: LocalView | null;
  hubs: { user: Rect; router: Rect; scale: number };
  highlighted: Set<string> | null;
  matches: Set<string> | null;
  active: Set<string>;
  activeBackends: Set<string>;
  cards: Set<string>;
  reducedMotion: boolean;
  rates: Map<string, number>;
  queues: AppState["queues"];
  /** null at a past moment */
  mesh: Mesh | null;
};

// events.js
type StreamEnvironment = {
  snapshot: () => Promise<any>;
  openStream: () => EventSource;
  now: () => number;
  setTimer: (run: () => void, ms: number) => number;
  clearTimer: (timer: number) => void;
  random: () => number;
};
type StreamListener = {
  event: (name: string, data: any) => void;
  connection: (line: "live" | "stale" | "lost") => void;
  locked: () => void;
};

// removed_backends.js
type RemovedBackend = { backend: BackendView; index: number; until: number };

// history.js
type Track = { statuses: Uint8Array; latencies: Float32Array };
/** `at`: milliseconds of the page's clock */
type StateChange = Incident & { at: number };

// input.js
type MapGestures = {
  pan: (dx: number, dy: number) => void;
  zoom: (factor: number, x: number, y: number) => void;
  zoomToLane: (x: number, y: number) => void;
  clear: () => void;
};

// kinds.js
/** as `/mesh/kinds` has it */
type Field = {
  name: string;
  label: string;
  required?: boolean;
  is_secret?: boolean;
  hint?: string;
  placeholder?: string;
  default?: string;
};
type Kind = {
  kind: string;
  label: string;
  about: string;
  group: "engine" | "router" | "cluster" | "cloud" | "peer";
  ring: Ring | null;
  port: number | null;
  default_url: string;
  fields: Field[];
};
/** what `meshlight://add?…` and `meshlight://pair?…` may say */
type DeepLink = {
  kind: string;
  url?: string;
  name?: string;
  access_key?: string;
  host?: string;
  port?: string;
  id?: string;
};

// peers.js, as `/mesh/peers` has it
type PeerView = {
  id: string;
  short: string;
  name: string;
  url: string;
  backend: string | null;
  share_rings: Ring[];
  share_models: string[] | null;
  max_in_flight: number;
  paused: boolean;
  in_flight: number;
  sees_models: string[];
  use: string[] | null;
  may_manage: boolean;
};
type DiscoveredPeerView = {
  id: string;
  short: string;
  name: string;
  host: string;
  addresses: string[];
  port: number;
  service: "meshlight" | "bago";
  backends: number;
  models: number;
  is_paired: boolean;
  can_pair: boolean;
  conflict: string;
};
type PairingView = {
  role: "asking" | "asked";
  state: "waiting" | "comparing" | "confirmed" | "paired" | "over";
  name: string;
  id: string;
  digits: string;
  why: string;
  left_s: number;
};
/** One client app of `/mesh/apps`. */
type AppView = {
  id: string;
  name: string;
  model: string;
  place: string;
  text: string;
  docs: string;
  note: string;
  fits: string;
  unconfirmed: string;
  launch: string;
  is_recognised: boolean;
  shared_client: string;
  called_s: number | null;
};
type AppList = { key: string; model: string; why: string; models: string[]; apps: AppView[] };
type PeersView = {
  node_id: string;
  short: string;
  name: string;
  visible: boolean;
  browse: boolean;
  port: number;
  door: number;
  addresses: string[];
  problem: string;
  peers: PeerView[];
  seen: DiscoveredPeerView[];
  pairing: PairingView | null;
};
type ListRow<T> = { el: HTMLElement; update: (item: T) => void };

// layout.js
type PlacedBackend = { id: string; name: string; ring: Ring; models: string[] };
type LaneGroup = { ring: Ring; members: PlacedBackend[] };
/** `cut`: whether a name is too long for its columns */
type WidePlan = {
  sizes: Sizes;
  packed: PackedModels[];
  unit: number;
  h: number;
  left: number;
  card: number;
  truncates: boolean;
};

// sizes.js
type PackedModels = {
  models: { model: string; col: number; row: number; span: number }[];
  rows: number;
  cols: number;
};

// panel.js
type PanelSheet = { title: () => string; kind: string; body: Node[]; update: () => void };

// particles.js
type Particle = {
  path: Float32Array;
  startMs: number;
  durationMs: number;
  isResponse: boolean;
  isFailure: boolean;
};

// paths.js
/** curve: x0 y0 cx1 cy1 cx2 cy2 x1 y1; line: further points x y x y … */
type Path = { curve: number[]; line: number[] };

// selection.js
/** what is *left out*; empty lists show everything */
type Filters = { rings: string[]; kinds: string[]; statuses: string[] };

// try/choices.js
/** `id`: as it is asked for; without a `backend`, wherever it is best */
type TryChoice = {
  id: string;
  model: string;
  backend: string;
  word: string;
  status: Status;
  rank: number;
  sees?: boolean;
};
type TryGroup = { label: string; choices: TryChoice[] };

// settings.js
type Settings = { theme: "system" | "dark" | "light" | "contrast"; legend: boolean; view: "map" | "table" };

// sizes.js
type Sizes = {
  card: Size;
  chip: { h: number; pitch: number; font: number };
  head: number;
  gap: number;
  laneGap: number;
  user: Size;
  router: Size;
  step: number;
  fan: number;
  reach: number;
};

// dense_layout.js
/** lines: lane → row → cells */
type DensePlan = { fit: number; score: number; rows: number; named: boolean; rowsByLane: Cell[][][] };
type Cell = { member: PlacedBackend; packed: PackedModels; w: number };
type Scale = {
  hub: number;
  gutter: number;
  gapX: number;
  cardH: number;
  head: number;
  laneGap: number;
  left: number;
  laneW: number;
};

// map_view.js
type MapModel = {
  pathOf: (key: string) => Set<string> | null;
  backends: Map<string, ShownBackend>;
  hub: RouterSummary;
  highlighted: Set<string> | null;
  matches: Set<string> | null;
  selected: string | null;
  active: Set<string>;
  unused: Set<string>;
  local: LocalView | null;
  placed: string[] | null;
  topology: string;
  /** requests a second, where they are written instead of drawn */
  rates: Map<string, number>;
  queues: AppState["queues"];
  /** null at a past moment */
  mesh: Mesh | null;
};

// mesh.js
type Mesh = {
  seq: number;
  router: RouterView;
  light: string;
  light_reason: string;
  notices: string[];
  offered: Map<string, string[]>;
  backends: Map<string, BackendView>;
  models: Map<string, ModelView>;
  inFlightByRoute: Map<string, number>;
  /** the last requests, the latest last */
  decisions: Decision[];
  refresh: { id: string; done: number; total: number } | null;
  topology: number;
};

// table.js
/** without a text, what it is sorted by is shown */
type Column = {
  name: string;
  text?: (row: any) => string;
  sort: (row: any) => number | string;
  numeric?: boolean;
  /** left out in a narrow window */
  wideOnly?: boolean;
};

// rules.js, as `/mesh/settings` has them
type Rule = { model: string; pin?: string[]; prefer?: string[]; also?: string[] } & Record<string, unknown>;
/** one line of `/mesh/route` */
type RouteLine = {
  backend: string;
  name: string;
  state: State;
  tier: "ready" | "untried" | "last-resort" | "excluded";
  why: string;
  place?: string;
  loaded?: boolean | null;
  context?: number | null;
};

// welcome
type KeyProvider = {
  label: string;
  kind: string;
  url: string;
  host: string;
  key_page: string;
  prefixes: string[];
};
type WelcomeView = { done: string[]; is_over: boolean; login_asked: boolean; providers: KeyProvider[] };
type LoginView = { can: boolean; on: boolean; text: string };
type WelcomeDeps = { store: Store<AppState>; view: WelcomeView; openLocal: () => void };
