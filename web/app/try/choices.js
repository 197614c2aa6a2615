/** What can be chosen to answer, in groups: each model wherever it is best, then ring by ring and backend by backend. Pure. */
import { displayName, plural } from "../core/format.js";
import { LOCAL_ID } from "../core/local_models.js";
import { RING_LABELS, RING_ORDER, statusOf } from "../map/status_styles.js";

/** Entries that are listed at once. */
export const LISTED_MAX = 120;
/** In the names of models that can't chat, and their capabilities; `domain/model_names.py` has the same. */
const NO_CHAT =
  /embed|rerank|bge-|whisper|tts|dall-e|diffusion|moderation|transcri|speech|image|davinci|babbage|realtime|\bsora|\bclip/i;
/** How a route may be, and which go first: a cold model of this machine before one of a cloud. @type {Record<string, [Status, number]>} */
const WORDS = {
  loaded: ["healthy", 0],
  healthy: ["healthy", 1],
  cold: ["healthy", 1],
  loading: ["warming", 2],
  unknown: ["unknown", 3],
  down: ["unhealthy", 4],
};
/** What the words of others mean here. @type {Record<string, string>} */
const MEANINGS = {
  ready: "loaded",
  "on-disk": "cold",
  failed: "down",
  missing: "down",
  unhealthy: "down",
  unknown: "unknown",
};

/** @param {BackendView} backend @param {string} model @param {LocalView|null} local @returns {TryChoice & {chats:boolean}} */
function choiceOf(backend, model, local) {
  const own = backend.id === LOCAL_ID ? local?.models.get(model) : undefined;
  const { loaded, capabilities = [] } = backend.details[model] ?? {};
  const told = own?.state ?? (loaded === undefined ? "healthy" : loaded ? "loaded" : "cold");
  const status = statusOf(backend);
  const state = status === "healthy" ? told : status;
  const word = MEANINGS[state] ?? (state in WORDS ? state : "loading");
  return {
    id: `${backend.id}/${model}`,
    model,
    backend: backend.id,
    word,
    status: WORDS[word][0],
    rank: WORDS[word][1],
    sees: own?.sees_images || capabilities.includes("vision"),
    chats: own
      ? own.purpose === "chat"
      : (capabilities.length ? capabilities : [model]).some((w) => !NO_CHAT.test(w)),
  };
}

/** @param {Mesh} mesh @param {LocalView|null} local @returns {TryGroup[]} */
export function choiceGroups(mesh, local) {
  /** @type {Map<string, TryChoice[]>} */
  const byModel = new Map();
  const groups = RING_ORDER.flatMap((ring) =>
    [...mesh.backends.values()]
      .filter((b) => b.ring === ring && b.enabled)
      .map((backend) => {
        const choices = backend.models.map((m) => choiceOf(backend, m, local)).filter((c) => c.chats);
        for (const choice of choices)
          if (!mesh.offered.get(choice.model)?.includes(backend.id))
            byModel.set(choice.model, [...(byModel.get(choice.model) ?? []), choice]);
        return { label: [...new Set([RING_LABELS[ring], displayName(backend.name)])].join(" · "), choices };
      }),
  );
  const best = [...byModel].map(([model, routes]) => {
    const [first] = [...routes].sort((a, b) => a.rank - b.rank);
    const word = routes.length > 1 ? `${plural(routes.length, "place")} · ${first.word}` : first.word;
    return { ...first, id: model, backend: "", word, sees: routes.some((r) => r.sees) };
  });
  best.sort((a, b) => a.rank - b.rank);
  return [{ label: "Wherever it is best", choices: best }, ...groups].filter((g) => g.choices.length);
}

/** The entries that have all words of a search, and how many more there are than a list can show. @param {TryGroup[]} groups @param {string} query */
export function findChoices(groups, query) {
  const words = query.toLowerCase().split(/\s+/);
  let count = 0;
  const found = groups.map(({ label, choices }) => ({
    label,
    choices: choices.filter(({ id }) => {
      const text = `${label} ${id}`.toLowerCase();
      return words.every((w) => text.includes(w)) && ++count <= LISTED_MAX;
    }),
  }));
  return { groups: found.filter((g) => g.choices.length), more: Math.max(0, count - LISTED_MAX) };
}
