/** The kinds of backend and the fields that the dialog asks for. A later kind is a line here and an icon in styles/icons.css. */

/** @type {(placeholder:string)=>Field} */
const address = (placeholder) => ({ name: "url", label: "Address", type: "url", required: true, placeholder });
/** @type {Field} */
const key = { name: "api_key", label: "API key", type: "password", hint: "Only if the server asks for one. Kept in the keyring, never shown again." };

/** Fields that every kind has, below “More”. @type {Field[]} */
export const COMMON = [
  { name: "priority", label: "Priority", type: "number", hint: "Smaller is tried earlier under the “priority” policy.", more: true },
  { name: "first_byte_s", label: "First byte within (s)", type: "number", hint: "A cold model load may take minutes.", more: true },
  { name: "idle_s", label: "Stream may pause (s)", type: "number", more: true },
];

/** @type {(label:string, about:string, port:number)=>Kind} */
const engine = (label, about, port) =>
  ({ label, about, ring: "machine", port, addable: true, fields: [address(`http://127.0.0.1:${port}`), key] });
/** @type {(label:string, ring:Ring)=>Kind} */
const later = (label, ring) => ({ label, about: "", ring, addable: false, fields: [] });

/** @type {Record<string, Kind>} */
export const KINDS = {
  llamacpp: engine("llama.cpp", "llama-server", 8080),
  ollama: engine("Ollama", "ollama serve", 11434),
  vllm: engine("vLLM", "vllm serve", 8000),
  mlx: engine("MLX", "mlx_lm.server", 8080),
  lmstudio: engine("LM Studio", "its local server", 1234),
  "openai-compatible": {
    label: "OpenAI-compatible", about: "any server with /v1", ring: "lan", addable: true,
    fields: [address("http://host:8000"), key],
  },
  peer: later("Meshlight peer", "lan"),
  continuum: later("Continuum Router", "company"),
  cluster: later("Cluster", "company"),
  openai: later("OpenAI", "cloud"),
  anthropic: later("Anthropic", "cloud"),
  gemini: later("Gemini", "cloud"),
};

/** @param {string} kind */
export const kindLabel = (kind) => KINDS[kind]?.label ?? kind;
