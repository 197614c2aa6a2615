/** Pieces that several panels are made of. */
import { errorText } from "../core/api.js";
import { h, setText, setTextWithCode, statusGlyph, withCode } from "../chrome/dom.js";
import { formatMs } from "../core/format.js";
import { statusLabel } from "../map/status_styles.js";

/** A list of names and values; an empty value hides its line. */
export function facts(el = h("dl", { class: "facts" })) {
  /** @type {Map<string, HTMLElement>} */
  const values = new Map();
  /** @param {string} name @param {string} text @param {boolean} [isProse] whether backticks in it mean code */
  const set = (name, text, isProse = false) => {
    let value = values.get(name);
    if (!value) {
      values.set(name, (value = h("dd")));
      el.append(h("div", {}, h("dt", { text: name }), value));
    }
    if (isProse) setTextWithCode(value, text);
    else setText(value, text);
    /** @type {HTMLElement} */ (value.parentElement).hidden = !text;
  };
  return { el, set };
}

/** Run what a button starts, and say how it went. @param {HTMLButtonElement} button @param {HTMLElement} message @param {()=>Promise<string>} action */
export async function busy(button, message, action) {
  button.disabled = true;
  message.className = "message";
  message.textContent = "…";
  try {
    message.replaceChildren(...withCode(await action()));
  } catch (error) {
    message.className = "message error";
    message.replaceChildren(...withCode(errorText(error)));
  } finally {
    button.disabled = false;
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
