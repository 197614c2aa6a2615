/** Patterns of models, and the rules that use them, as the service reads both. Pure. */

const LATEST = ":latest";
/** @param {string} name */
const withoutTag = (name) => (name.endsWith(LATEST) ? name.slice(0, -LATEST.length) : name);

/** A pattern that means this model alone. @param {string} model */
export const patternOf = (model) => model.replace(/[[*?]/g, "[$&]");

/** Whether a pattern (`*`, `?`, `[abc]`, `[!abc]`) matches all of a name. @param {string} pattern @param {string} name */
export function matchesPattern(pattern, name) {
  const source = pattern.replace(/\[(!?)(\]?[^\]]*)\]|[^]/g, (part, not, set) => {
    if (set) return `[${not && "^"}${set.replace(/[\\[\]^]/g, "\\$&")}]`;
    return part === "*" ? "[^]*" : part === "?" ? "[^]" : part.replace(/[\\^$.|+(){}[\]/]/g, "\\$&");
  });
  try {
    return new RegExp(`^${source}$`).test(name);
  } catch {
    return pattern === name;
  }
}

/** @param {string} pattern @param {string} model */
const isMeant = (pattern, model) =>
  withoutTag(pattern) === withoutTag(model) ||
  matchesPattern(pattern, model) ||
  (model.endsWith(LATEST) && matchesPattern(pattern, withoutTag(model)));

/**
 * The rules by which a backend that only offers a model is used for it, too. The first match counts: a rule of
 * exactly this model gets the backend, before a wider one comes a copy of it for this model.
 * @param {Rule[]} rules @param {string} model @param {string} backend @returns {Rule[]}
 */
export function withAlso(rules, model, backend) {
  const at = rules.findIndex((rule) => isMeant(rule.model, model));
  if (at < 0) return [...rules, { model, also: [backend] }];
  const old = rules[at];
  const isOwn = withoutTag(old.model) === withoutTag(model);
  const rule = { ...old, model: isOwn ? old.model : model, also: [...(old.also ?? []), backend] };
  if (old.pin?.length) rule.pin = [...old.pin, backend];
  return [...rules.slice(0, at), rule, ...rules.slice(isOwn ? at + 1 : at)];
}
