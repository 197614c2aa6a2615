/** A request as programs send it; how is in index.html. */
import { $ } from "../chrome/dom.js";

/** A value as Python writes it; the texts of JSON are texts there, too. @param {any} value @returns {string} */
function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value === true) return "True";
  if (typeof value !== "object") return JSON.stringify(value);
  const pairs = Object.entries(value).map(([name, one]) => `"${name}": ${python(one)}`);
  return `{${pairs.join(", ")}}`;
}

/** Exactly this request; the key is read where it is run. @param {string} language @param {Record<string, any>} body */
export function recipeOf(language, body) {
  /** @type {Record<string, string>} */
  const parts = {
    url: location.origin,
    quoted: JSON.stringify(body).replaceAll("'", "'\\''"),
    arguments: Object.entries(body)
      .map(([name, value]) => `${name}=${python(value)},`)
      .join("\n    "),
    json: JSON.stringify(body, null, 2),
  };
  const text = $("try-recipes").content.querySelector(`.${language}`).textContent;
  return text.replace(
    /\{(url|quoted|arguments|json)\}/g,
    (/** @type {string} */ _, /** @type {string} */ part) => parts[part],
  );
}
