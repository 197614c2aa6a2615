/** The details. A builder makes elements once; `update` takes away no focus, scroll or selection. */
import { errorText } from "../core/api.js";
import { $, h, iconButton, setText } from "../chrome/dom.js";
import { backendSheet } from "./backend_sheet.js";
import { modelSheet } from "./model_sheet.js";
import { routerSheet, userSheet } from "./hub_sheets.js";
import { countPaths } from "../map/selection.js";
import { plural } from "../core/format.js";

export class Panel {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.root = $("panel");
    /** @type {string|null} */
    this.key = null;
    /** @type {PanelSheet|null} */
    this.sheet = null;
    this.root.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
      if (e.key !== "Escape") return;
      e.stopPropagation();
      app.select(null);
    });
  }

  get open() {
    return this.key !== null;
  }

  /** @param {string} key @param {boolean} focus */
  show(key, focus) {
    if (key !== this.key) {
      this.key = key;
      const sheet =
        key === "u"
          ? userSheet(this.app)
          : key === "r"
            ? routerSheet(this.app)
            : key.startsWith("b:")
              ? backendSheet(this.app, key.slice(2))
              : modelSheet(this.app, key);
      this.sheet = sheet;
      this.count = h("p", { class: "quiet paths" });
      this.root.replaceChildren(
        h(
          "header",
          {},
          h(
            "div",
            {},
            h("p", { class: "eyebrow", text: sheet.kind }),
            h("h2", { tabindex: "-1", id: "panel-title" }),
          ),
          iconButton("close", "Close the panel", () => this.app.select(null)),
        ),
        h("div", { class: "body" }, ...sheet.body, this.count),
      );
      this.root.hidden = false;
      document.body.classList.add("with-panel");
      this.root.scrollTop = 0;
    }
    this.update();
    if (focus) $("panel-title").focus({ preventScroll: true });
  }

  hide() {
    if (!this.open) return;
    this.key = this.sheet = null;
    this.root.hidden = true;
    document.body.classList.remove("with-panel");
    this.root.replaceChildren();
  }

  update() {
    if (!this.sheet || !this.key || !this.app.mesh) return;
    setText($("panel-title"), this.sheet.title());
    this.sheet.update();
    if (this.count)
      this.count.textContent = plural(
        countPaths(this.key, this.app.shown, this.app.servers),
        "connected path",
      );
  }
}

/** An empty value hides its line. */
export function facts(el = h("dl", { class: "facts" })) {
  /** @type {Map<string, HTMLElement>} */
  const values = new Map();
  /** @param {string} name @param {string} text */
  const set = (name, text) => {
    let value = values.get(name);
    if (!value) {
      values.set(name, (value = h("dd")));
      el.append(h("div", {}, h("dt", { text: name }), value));
    }
    setText(value, text);
    /** @type {HTMLElement} */ (value.parentElement).hidden = !text;
  };
  return { el, set };
}

/** @param {HTMLButtonElement} button @param {HTMLElement} message @param {()=>Promise<string>} action */
export async function busy(button, message, action) {
  button.disabled = true;
  message.className = "message";
  message.textContent = "…";
  try {
    message.textContent = await action();
  } catch (error) {
    message.className = "message error";
    message.textContent = errorText(error);
  } finally {
    button.disabled = false;
  }
}
