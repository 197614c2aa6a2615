/** Words and numbers for people. */

/** Marks that hide or turn the reading direction: no text may rewrite its neighbours. Tabs and ends of lines are none. */
export const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** @param {string} name */
export const displayName = (name) =>
  name
    .replace(UNSEEN, "")
    .replace(/[\t\n]/g, "")
    .trim() || "(no name)";

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** @param {string} name @param {number} available @param {(text:string)=>number} measure */
export function truncateMiddle(name, available, measure) {
  if (name.length < 200 && measure(name) <= available) return name;
  const parts = [...graphemes.segment(name.length > 240 ? name.slice(0, 120) + name.slice(-120) : name)].map(
    (p) => p.segment,
  );
  let low = 0;
  let high = parts.length - 1;
  const shorten = (/** @type {number} */ keep) => {
    const back = Math.floor(keep * 0.45);
    return `${parts.slice(0, keep - back).join("")}…${back ? parts.slice(-back).join("") : ""}`;
  };
  while (low < high) {
    const keep = Math.ceil((low + high) / 2);
    if (measure(shorten(keep)) <= available) low = keep;
    else high = keep - 1;
  }
  return shorten(low);
}

/** A part of an address; all of it where it has none, such as that of a socket. @param {string} url @param {"host"|"origin"} part */
function partOf(url, part) {
  try {
    return new URL(url)[part].replace(/^null$/, "") || url;
  } catch {
    return url;
  }
}

/** @param {string} url */
export const hostOf = (url) => partOf(url, "host");

/** Scheme, host and port. @param {string} url */
export const originOf = (url) => partOf(url, "origin");

/** What a person typed for an address, with or without a port. @param {string} text @returns {{host:string, port?:number}} */
export function parseHostPort(text) {
  const [, v6, name, port] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(text.trim()) ?? [];
  const found = v6 ?? name ?? text.trim();
  return port ? { host: found, port: Number(port) } : { host: found };
}

/** @param {number|null|undefined} value */
export function formatMs(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 9950) return `${Math.round(value / 1000)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return value > 0 && value < 1 ? "<1 ms" : `${Math.round(value)} ms`;
}

const NUMBER = new Intl.NumberFormat("en");

/** @param {number} value */
export const formatCount = (value) => NUMBER.format(value);

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** @param {number} value */
export const formatCompact = (value) => (value < 100_000 ? formatCount(value) : COMPACT.format(value));

/** @param {Requests} requests */
export const formatRequests = ({ total, successful, failed }) =>
  `${formatCount(total)} · ${formatCount(successful)} ok · ${formatCount(failed)} failed`;

/** @param {number} value @param {string} noun */
export const plural = (value, noun) => `${formatCount(value)} ${noun}${value === 1 ? "" : "s"}`;

/** What an engine reports of a model, without what is usual. @param {Detail|null} [detail] */
export function formatModelDetail(detail) {
  const { context, parameters, quantization, loaded, capabilities } = detail ?? {};
  const unit = context && context % 1024 ? 1000 : 1024;
  const available = context && `${context < 1000 ? context : `${Math.round(context / unit)}k`} context`;
  return joined(
    available,
    parameters,
    quantization,
    loadedWords(loaded),
    ...(capabilities ?? []).filter((c) => c !== "chat" && c !== "completion"),
  );
}

/** Whether a model is in memory; nothing where that is not known. @param {boolean|null|undefined} loaded */
export const loadedWords = (loaded) =>
  loaded ? "in memory" : loaded === false ? "loads on the first request" : "";

/** What there is to say, side by side. @param {...(string|number|false|null|undefined)} parts */
export const joined = (...parts) => parts.filter(Boolean).join(" · ");

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** @param {number} bytes */
export function formatBytes(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < 4) [value, unit] = [value / 1000, unit + 1];
  return `${value < 9.95 && unit > 2 ? value.toFixed(1).replace(".0", "") : Math.round(value)} ${UNITS[unit]}`;
}

/** @param {number} seconds */
export function formatDuration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const FONT = "Inter, system-ui, sans-serif";

/** @type {Context2D|null} */
let context = null;
/** @type {Map<string, string>} */
const fittedTexts = new Map();

/** @param {string} text @param {string} font a CSS font without the family, such as `600 12px` */
export function textWidth(text, font) {
  context ??= document.createElement("canvas").getContext("2d");
  if (!context) return text.length * 7;
  context.textRendering = "geometricPrecision";
  context.font = `${font} ${FONT}`;
  return context.measureText(text).width;
}

/** After another font has come. */
export const forgetTextWidths = () => fittedTexts.clear();

/** @param {string} name @param {number} available pixels @param {string} font */
export function fitText(name, available, font) {
  const key = `${Math.round(available)} ${font} ${name}`;
  let out = fittedTexts.get(key);
  if (out === undefined) {
    if (fittedTexts.size > 6000) fittedTexts.clear();
    out = truncateMiddle(name, available, (text) => textWidth(text, font));
    fittedTexts.set(key, out);
  }
  return out;
}
