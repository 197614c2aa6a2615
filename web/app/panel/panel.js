/** The details. A builder makes elements once; `update` takes away no focus, scroll or selection. */
import { $, fromTemplate, h, pick, setText } from "../chrome/dom.js";
import { backendSheet } from "./backend_sheet.js";
import { modelSheet } from "./model_sheet.js";
import { routerSheet, userSheet } from "./hub_sheets.js";
import { errorText } from "../core/api.js";
import { LOCAL_ID } from "../core/local_models.js";
import { countPaths } from "../map/selection.js";
import { plural } from "../core/format.js";

export class Panel {
  /** @param {PanelContext} context */
  constructor(context) {
    this.context = context;
    this.root = $("panel");
    /** @type {string|null} */
    this.key = null;
    /** @type {PanelSheet|null} */
    this.sheet = null;
    this.root.onkeydown = (/** @type {KeyboardEvent} */ e) => {
      if (e.key !== "Escape") return;
      e.stopPropagation();
      context.select(null);
    };
    const { store } = context;
    store.subscribe(
      (s) => s.selection,
      ({ key }) => (key ? this.show(key) : this.hide()),
    );
    store.subscribe(
      (s) => [s.mesh, s.shown, s.servers, s.moment, s.theme, s.historyVersion, s.local],
      () => this.update(),
    );
  }

  /** @param {string} key */
  show(key) {
    const { context } = this;
    if (key !== this.key) {
      this.key = key;
      const sheet =
        key === "u"
          ? userSheet(context)
          : key === "r"
            ? routerSheet(context)
            : key === `b:${LOCAL_ID}`
              ? lazySheet(async () => (await import("./local_sheet.js")).localSheet(context))
              : key.startsWith("b:")
                ? backendSheet(context, key.slice(2))
                : modelSheet(context, key);
      this.sheet = sheet;
      this.root.replaceChildren(...fromTemplate("panel-frame").children);
      const [kind, close, body, count] = pick(this.root, ".eyebrow .tool .body .paths");
      this.count = count;
      setText(kind, sheet.kind);
      close.onclick = () => context.select(null);
      body.prepend(...sheet.body);
      this.root.hidden = false;
      document.body.classList.add("with-panel");
      this.root.scrollTop = 0;
    }
    this.update();
    $("panel-title").focus({ preventScroll: true });
  }

  hide() {
    if (!this.key) return;
    this.key = this.sheet = null;
    this.root.hidden = true;
    document.body.classList.remove("with-panel");
    this.root.replaceChildren();
  }

  update() {
    const { mesh, shown, servers } = this.context.store.state;
    if (!this.sheet || !this.key || !mesh) return;
    setText($("panel-title"), this.sheet.title());
    this.sheet.update();
    if (this.count) setText(this.count, plural(countPaths(this.key, shown, servers), "connected path"));
  }
}

/** A sheet whose code comes when it is wanted. @param {()=>Promise<PanelSheet>} load @returns {PanelSheet} */
function lazySheet(load) {
  const root = h("div", {}, h("p", { class: "quiet", text: "Loading …" }));
  /** @type {PanelSheet|null} */
  let sheet = null;
  load()
    .then((made) => {
      sheet = made;
      root.replaceChildren(...made.body);
      made.update();
    })
    .catch((error) => root.replaceChildren(h("p", { class: "error", text: errorText(error) })));
  return {
    title: () => "This machine",
    kind: "Its own models",
    body: [root],
    update: () => sheet?.update(),
  };
}
