/** Pieces that several panels are made of. */
import { errorText } from "../core/api.js";
import { h, setText, setTextWithCode, statusGlyph, withCode } from "../chrome/dom.js";
import { displayName, formatCount, formatMs, formatRequests } from "../core/format.js";
import { statusLabel } from "../map/status_styles.js";

/** Backends that are listed in a panel. */
const LINKS_MOST = 60;

/** A list of names and values; one without a value has no line. */
export function facts(el = h("dl", { class: "facts" })) {
  /** @type {Map<string, HTMLElement>} */
  const values = new Map();
  /** @param {Record<string, string|false|null|undefined>} lines @param {boolean} [isProse] whether backticks in them mean code */
  const show = (lines, isProse) => {
    for (const [name, text] of Object.entries(lines)) {
      let value = values.get(name);
      if (!value) {
        values.set(name, (value = h("dd")));
        el.append(h("div", {}, h("dt", { text: name }), value));
      }
      (isProse ? setTextWithCode : setText)(value, text || "");
      /** @type {HTMLElement} */ (value.parentElement).hidden = !text;
    }
  };
  return { el, show };
}

/** What came of the requests, as facts. @param {RequestStats} stats */
export const usage = (stats) => ({
  Requests: formatRequests(stats),
  "First byte": stats.first_byte_ms ? formatMs(stats.first_byte_ms) : "",
  Tokens:
    stats.tokens_in + stats.tokens_out
      ? `${formatCount(stats.tokens_in)} in · ${formatCount(stats.tokens_out)} out`
      : "",
});

/** Why something is as it is, in an element with a line for the reason and one for the fix. @param {any} el @param {{text:string, fix:string}|null|undefined} why @param {boolean} isBad */
export function setWhy(el, why, isBad) {
  el.hidden = !why;
  el.dataset.status = isBad ? "unhealthy" : "warming";
  setTextWithCode(el.children[0], why?.text ?? "");
  setTextWithCode(el.children[1], why?.fix ?? "");
}

/** A line of a list: a title with small print, and what stands behind it. @param {string} title @param {(Node|string)[]} print @param {...(Node|string|false)} rest */
export const item = (title, print, ...rest) =>
  h("li", {}, h("div", {}, h("b", { text: displayName(title) }), h("small", {}, ...print)), ...rest);

/** Bring a list up to date; each row is made once. @template {{id:string}} T @param {any} root @param {Map<string, ListRow<any>>} rows @param {T[]} items @param {(item:T)=>ListRow<T>} make @param {string} [prefix] of their keys among the rows */
export function updateRows(root, rows, items, make, prefix = "") {
  const all = items.map((now) => {
    const row = rows.get(prefix + now.id) ?? make(now);
    rows.set(prefix + now.id, row);
    row.update(now);
    return row.el;
  });
  for (const el of [...root.children]) if (!all.includes(el)) el.remove();
  all.forEach((el, i) => root.children[i] === el || root.insertBefore(el, root.children[i]));
}

/** Whether something fits, with a mark beside its colour. @param {"now"|"after-unloading"|"never"} fits @param {string} text */
export const fitMark = (fits, text) => {
  const status = fits === "now" ? "healthy" : fits === "never" ? "unhealthy" : "degraded";
  return h("span", { class: "fit", "data-status": status }, statusGlyph(status), text);
};

/** Give a button the focus, or the one beside it where it has gone. @param {HTMLElement} button */
export const focusNear = (button) =>
  (button.hidden
    ? /** @type {HTMLElement|null|undefined} */ (button.parentElement?.querySelector("button:not([hidden])"))
    : button
  )?.focus({ preventScroll: true });

/** Run what a button starts, and say how it went, in the words that it gives; whether it went well. @param {HTMLButtonElement} button @param {HTMLElement} message @param {()=>Promise<unknown>} action */
export async function busy(button, message, action) {
  const hadFocus = document.activeElement === button;
  button.disabled = true;
  message.className = "message";
  message.textContent = "…";
  try {
    const said = await action();
    message.replaceChildren(...(typeof said === "string" ? withCode(said) : []));
    return true;
  } catch (error) {
    message.className = "message error";
    message.replaceChildren(...withCode(errorText(error)));
    return false;
  } finally {
    button.disabled = false;
    // What is disabled has no focus.
    if (hadFocus && document.activeElement === document.body) focusNear(button);
  }
}

/** @param {ShownBackend} backend @param {PanelContext["select"]} select */
export const linkTo = (backend, select) => {
  const { id, name, latency } = backend;
  const status = statusLabel(backend);
  return h(
    "button",
    { class: "link", "data-status": status, onclick: () => select(`b:${id}`, true) },
    statusGlyph(status),
    h("span", { class: "what", text: name }),
    h("span", { class: "quiet", text: status === "healthy" ? formatMs(latency) : status }),
  );
};

/** The first of many backends. @param {ShownBackend[]} backends @param {PanelContext["select"]} select */
export const linksTo = (backends, select) => [
  ...backends.slice(0, LINKS_MOST).map((b) => linkTo(b, select)),
  ...andMore(backends.length - LINKS_MOST, ": the table (t) lists all"),
];

/** How many are not listed, if any. @param {number} count @param {string} [where] */
export const andMore = (count, where = "") =>
  count > 0 ? [h("p", { class: "quiet", text: `and ${formatCount(count)} more${where}` })] : [];
