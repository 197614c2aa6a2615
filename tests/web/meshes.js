/** Seeded meshes for the tests of the page's pure modules. */

/** @param {number} seed */
export function dice(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const NAMES = [
  "llama-3.3-70b",
  "qwen3-32b",
  "bge-m3",
  "mlx-community/Qwen3-4B-Instruct-2507-4bit",
  "gpt-oss-20b",
  "phi-4-mini",
  "deepseek-r1-distill-qwen-32b",
  "gemma-3-27b",
];
const RINGS = ["machine", "lan", "company", "cloud"];

/**
 * @param {number} backends
 * @param {number} models
 * @param {number} seed
 */
export function mesh(backends, models, seed = 1) {
  const roll = dice(seed);
  const counts = Array.from({ length: backends }, () =>
    Math.round((models / backends) * (0.4 + 1.2 * roll())),
  );
  for (
    let i = 0, sum = counts.reduce((a, b) => a + b, 0);
    backends && sum !== models;
    i = (i + 1) % backends
  ) {
    const step = Math.sign(models - sum);
    if (counts[i] + step < 0) continue;
    counts[i] += step;
    sum += step;
  }
  return Array.from({ length: backends }, (_, i) => ({
    id: `b${i}`,
    name: `backend-${i}`,
    ring: /** @type {any} */ (RINGS[Math.floor((i * 4) / backends)]),
    models: Array.from(
      { length: counts[i] },
      (_unused, j) => `${NAMES[(i + j) % 8]}${j > 7 ? `-v${j}` : ""}`,
    ),
  }));
}

/** @param {any} [over] */
export const view = (over = {}) => ({
  id: "a",
  name: "a",
  kind: "ollama",
  ring: "machine",
  url: "http://127.0.0.1:1",
  enabled: true,
  source: "config",
  health: { state: "healthy", reason: "ok", text: "Answers as it should.", fix: "", since_s: 1 },
  latency_ms: 5,
  models: ["m1", "m2"],
  in_flight: 0,
  access_key: "",
  ca_file: "",
  proxy: "",
  given_models: [],
  details: {},
  about: {},
  warnings: [],
  degraded: "",
  can_load: false,
  slots: null,
  requests: {
    total: 0,
    successful: 0,
    failed: 0,
    in_flight: 0,
    first_byte_ms: null,
    tokens_in: 0,
    tokens_out: 0,
  },
  ...over,
});

/** @param {any[]} backends @param {any} [over] */
export function snapshot(backends, over = {}) {
  const models = new Map();
  for (const b of backends)
    if (b.enabled) for (const m of b.models) models.set(m, [...(models.get(m) ?? []), b.id]);
  return {
    seq: 1,
    router: {
      node_id: "n",
      name: "desk",
      version: "0",
      status: "running",
      uptime_s: 9,
      requests: { total: 0, successful: 0, failed: 0, in_flight: 0 },
    },
    light: "green",
    light_reason: "All 2 backends are healthy.",
    backends,
    models: [...models].map(([id, on]) => ({ id, backends: on, requests: null, queue: null })),
    offered: {},
    notices: [],
    ...over,
  };
}

/** The snapshot that a state of the page stands for: the inverse of `fromSnapshot`. @param {any} mesh */
export const toSnapshot = ({ seq, router, light, light_reason, backends, models, offered, notices }) => ({
  seq,
  router,
  light,
  light_reason,
  backends: [...backends.values()],
  models: [...models.values()],
  offered: Object.fromEntries(offered),
  notices,
});
