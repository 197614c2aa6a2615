/**
 * The shapes that cross module borders: first those of the wire (`/mesh/snapshot`, `/mesh/events`), then ours.
 * Ages are seconds, latencies milliseconds, lengths CSS pixels. For the type checker only: nothing loads this file.
 */
type App = import("./app.js").App;
type Stage = import("./stage.js").Stage;
type Pen = CanvasRenderingContext2D;
type Theme = "dark" | "light" | "contrast" | "forced";

type State = "healthy" | "warming" | "unhealthy" | "unknown";
/** What a backend looks like: its state, or `disabled` when its switch is off. */
type Look = State | "disabled";
type Ring = "machine" | "lan" | "company" | "cloud";
type Requests = { total: number; successful: number; failed: number; in_flight: number };
type Work = Requests & { first_byte_ms: number | null; tokens_in: number; tokens_out: number };
type HealthView = { state: State; reason: string; text: string; fix: string; since_s: number };
type BackendView = {
  id: string; name: string; kind: string; ring: Ring; url: string; enabled: boolean; source: string;
  health: HealthView; latency_ms: number | null; models: string[]; in_flight: number; requests: Work; access_key: string; ca_file: string;
  details: Record<string, Detail>; about: Record<string, string>; warnings: string[]; degraded?: string;
};
type ModelView = { id: string; backends: string[]; requests: Work | null };
type RouterView = { node_id: string; name: string; version: string; status: string; uptime_s: number; requests: Requests };
type Snapshot = {
  seq: number; router: RouterView; light: "green" | "amber" | "red" | "grey"; light_reason: string;
  backends: BackendView[]; models: ModelView[]; notices: string[];
};
type Detail = { context?: number; loaded?: boolean; quantization?: string; parameters?: string; capabilities?: string[] };
type HealthChange = { id: string; enabled: boolean; health: HealthView; latency_ms: number | null; about: Record<string, string>; warnings: string[]; degraded?: string };
type RouteTraffic = { backend: string; model: string; started: number; ok: number; failed: number; in_flight: number };
type Incident = { seq: number; backend: string; from: State; to: State; reason: string; text: string };

/** One backend as the picture shows it, now or at a past moment. */
type Shown = {
  id: string; name: string; kind: string; ring: Ring; look: Look; latency: number | null; models: string[];
  busy: number; gone: boolean; reason: string; text: string;
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
  style: "wide" | "stacked"; w: number; h: number; fit: number; hub: number; user: Rect; router: Rect;
  lanes: Lane[]; boxes: Box[]; byKey: Map<string, Box | Chip>;
};
/** screen = world · k + (x, y) */
type Camera = { x: number; y: number; k: number };

// cards.js
type Card = {el:HTMLButtonElement, sig:string};
type Hub = {name:string, status:string, uptime:string, requests:Requests};

// colours.js
type Looks = Record<Look, string>;
/** `tile`: how opaque a quiet far-away model is */
type Palette = {looks:Looks, page:string, lane:string, laneLine:string, line:string, ink:string, muted:string, accent:string, tile:number};

// edges.js
/** `cards`: keys that are elements, not to be drawn here */
type Scene = {layout:Layout, camera:Camera, view:Size, dpr:number, palette:Palette, level:"near"|"mid"|"far", shown:Map<string, Shown>, hubs:{user:Rect, router:Rect, scale:number}, lit:Set<string>|null, found:Set<string>|null, hot:Set<string>, hotBoxes:Set<string>, cards:Set<string>, still:boolean, rate:(backend:string)=>number};

// feed.js
type World = {snapshot:()=>Promise<any>, open:()=>EventSource, now:()=>number, later:(run:()=>void, ms:number)=>number, never:(timer:number)=>void, random:()=>number};
type Listener = {event:(name:string, data:any)=>void, line:(line:"live"|"stale"|"lost")=>void, locked:()=>void};

// ghosts.js
type Ghost = {backend:BackendView, place:number, until:number};

// history.js
type Track = {looks:Uint8Array, latencies:Float32Array};
/** `at`: milliseconds of the page's clock */
type Change = Incident & {at:number};

// input.js
type Moves = {pan:(dx:number, dy:number)=>void, zoom:(factor:number, x:number, y:number)=>void, dive:(x:number, y:number)=>void, clear:()=>void};

// kinds.js
/** as `/mesh/kinds` has it */
type Field = {name:string, label:string, required?:boolean, is_secret?:boolean, hint?:string, placeholder?:string, default?:string};
type Kind = {kind:string, label:string, about:string, group:"engine"|"router"|"cluster"|"cloud"|"peer", ring:Ring|null, port:number|null, default_url:string, fields:Field[]};
/** what `meshlight://add?…` and `meshlight://pair?…` may say */
type Link = {kind:string, url?:string, name?:string, access_key?:string, host?:string, port?:string, id?:string};

// peers.js, as `/mesh/peers` has it
type PeerView = {
  id: string; short: string; name: string; url: string; backend: string | null; share_rings: Ring[]; share_models: string[] | null;
  max_in_flight: number; paused: boolean; in_flight: number; sees_models: string[];
};
type SightingView = {
  id: string; short: string; name: string; host: string; addresses: string[]; port: number; service: "meshlight" | "bago";
  backends: number; models: number; is_paired: boolean; can_pair: boolean; conflict: string;
};
type PairingView = { role: "asking" | "asked"; state: "waiting" | "comparing" | "confirmed" | "paired" | "over"; name: string; id: string; digits: string; why: string; left_s: number };
type PeersView = {
  node_id: string; short: string; name: string; visible: boolean; browse: boolean; port: number; door: number; addresses: string[];
  problem: string; peers: PeerView[]; seen: SightingView[]; pairing: PairingView | null;
};
type Row<T> = {el:HTMLElement, tell:(item:T)=>void};

// layout.js
type Placed = {id:string, name:string, ring:Ring, models:string[]};
type Group = {ring:Ring, members:Placed[]};
/** `cut`: whether a name is too long for its columns */
type Plan = {s:Sizes, packs:Packing[], unit:number, h:number, left:number, card:number, cut:boolean};

// sizes.js
type Packing = {models:{model:string, col:number, row:number, span:number}[], rows:number, cols:number};

// panel.js
type Sheet = {title:()=>string, kind:string, body:Node[], update:()=>void};

// particles.js
type Particle = {way:Float32Array, born:number, life:number, back:boolean, failed:boolean};

// paths.js
/** curve: x0 y0 cx1 cy1 cx2 cy2 x1 y1; line: further points x y x y … */
type Path = {curve:number[], line:number[]};

// picture.js
/** what is *left out*; empty lists show everything */
type Filters = {rings:string[], kinds:string[], looks:string[]};

// settings.js
type Settings = {theme:"system"|"dark"|"light"|"contrast", legend:boolean, view:"map"|"table"};

// sizes.js
type Sizes = {card:Size, chip:{h:number, pitch:number, font:number}, head:number, gap:number, laneGap:number, user:Size, router:Size, step:number, fan:number, reach:number};

// stacked.js
/** lines: lane → row → cells */
type StackPlan = {fit:number, score:number, rows:number, named:boolean, lines:Cell[][][]};
type Cell = {member:Placed, pack:Packing, w:number};
type Scale = {hub:number, gutter:number, gapX:number, cardH:number, head:number, laneGap:number, left:number, laneW:number};

// stage.js
type Picture = {waysOf:(key:string)=>Set<string>|null, backends:Map<string, Shown>, hub:Hub, lit:Set<string>|null, found:Set<string>|null, selected:string|null, hot:Set<string>, topology:string, sig:string};

// store.js
type Mesh = {seq:number, router:RouterView, light:string, light_reason:string, notices:string[], backends:Map<string, BackendView>, models:Map<string, ModelView>, busy:Map<string, number>, refresh:{id:string, done:number, total:number}|null, topology:number};

// table.js
/** without a text, what it is sorted by is shown */
type Column = {name:string, text?:(row:any)=>string, sort:(row:any)=>number|string, numeric?:boolean};
