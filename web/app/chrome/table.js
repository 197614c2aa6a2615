/** A sortable table; only the rows in view are elements. */
import { $, h } from "./dom.js";
import { kindLabel } from "../core/kinds.js";
import { LOOKS, LOOK_ORDER, RINGS, RING_ORDER } from "../map/status_styles.js";
import { clean, count, host, ms } from "../core/format.js";

const ROW = 34;

/** @type {Column[]} */
const BACKENDS = [
  { name: "Backend", text: (r) => r.shown.name, sort: (r) => r.shown.name.toLowerCase() },
  {
    name: "State",
    text: (r) => `${LOOKS[/** @type {Look} */ (r.shown.look)].glyph} ${r.shown.gone ? "gone" : r.shown.look}`,
    sort: (r) => LOOK_ORDER.indexOf(r.shown.look),
  },
  { name: "Kind", sort: (r) => kindLabel(r.shown.kind) },
  {
    name: "Ring",
    text: (r) => RINGS[/** @type {Ring} */ (r.shown.ring)],
    sort: (r) => RING_ORDER.indexOf(r.shown.ring),
  },
  {
    name: "Latency",
    text: (r) => ms(r.shown.latency),
    sort: (r) => r.shown.latency ?? Infinity,
    numeric: true,
  },
  { name: "Models", sort: (r) => r.shown.models.length, numeric: true },
  { name: "In flight", sort: (r) => r.shown.busy, numeric: true },
  { name: "Requests", sort: (r) => r.work?.total ?? 0, numeric: true },
  { name: "Failed", sort: (r) => r.work?.failed ?? 0, numeric: true },
  { name: "Address", sort: (r) => host(r.url) },
];

/** @type {Column[]} */
const MODELS = [
  { name: "Model", text: (r) => clean(r.id), sort: (r) => r.id.toLowerCase() },
  {
    name: "Healthy routes",
    text: (r) => `${r.healthy} of ${r.on.length}`,
    sort: (r) => r.healthy,
    numeric: true,
  },
  {
    name: "Served by",
    text: (r) => r.on.map((/** @type {any} */ b) => b.name).join(", "),
    sort: (r) => r.on.length,
  },
  {
    name: "Best latency",
    text: (r) => ms(Number.isFinite(r.best) ? r.best : null),
    sort: (r) => r.best,
    numeric: true,
  },
  ...BACKENDS.slice(7, 9),
];

export class Table {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    /** @type {"backends"|"models"} */
    this.what = "backends";
    this.by = 1;
    this.down = false;
    /** @type {any[]} */
    this.rows = [];
    this.sig = "";
    const [tabs, box] = $("table").children;
    this.tabs = tabs;
    this.box = box;
    this.table = box.querySelector("table");
    this.head = box.querySelector("tr");
    this.body = box.querySelector("tbody");
    box.onscroll = () => this.paint();
    for (const tab of tabs.children) tab.onclick = () => this.turn(tab.value);
    this.turn("backends");
  }

  get columns() {
    return this.what === "backends" ? BACKENDS : MODELS;
  }

  /** @param {"backends"|"models"} what */
  turn(what) {
    this.what = what;
    this.by = what === "backends" ? 1 : 0;
    this.down = false;
    for (const tab of this.tabs.children) tab.setAttribute("aria-pressed", String(tab.value === what));
    this.table.setAttribute("aria-label", what === "backends" ? "Backends" : "Models");
    this.table.className = what;
    this.head.replaceChildren(
      ...this.columns.map((column, i) =>
        h(
          "th",
          { scope: "col", class: column.numeric ? "num" : "" },
          h("button", { onclick: () => this.sortBy(i) }, column.name),
        ),
      ),
    );
    this.box.scrollTop = 0;
    this.update();
  }

  /** @param {number} i */
  sortBy(i) {
    this.down = this.by === i && !this.down;
    this.by = i;
    this.update();
  }

  update() {
    const { app } = this;
    if (!app.mesh || $("table").hidden) return;
    const found = app.found;
    if (this.what === "backends") {
      this.rows = [...app.shown.values()]
        .filter(
          (s) =>
            !found || found.keys.has(`b:${s.id}`) || s.models.some((m) => found.keys.has(`m:${s.id}\n${m}`)),
        )
        .map((shown) => {
          const view = app.mesh?.backends.get(shown.id);
          return { key: `b:${shown.id}`, shown, work: view?.requests, url: view?.url ?? "" };
        });
    } else {
      this.rows = [...app.servers]
        .filter(
          ([id, on]) => !found || on.some((b) => found.keys.has(`m:${b}\n${id}`) || found.keys.has(`b:${b}`)),
        )
        .map(([id, ids]) => {
          const on = ids.map((b) => app.shown.get(b)).filter((b) => b !== undefined);
          const well = on.filter((b) => b.look === "healthy");
          const best = Math.min(...well.map((b) => b.latency ?? Infinity));
          return {
            key: `m:${well[0]?.id ?? on[0]?.id}\n${id}`,
            id,
            on,
            healthy: well.length,
            best,
            work: app.mesh?.models.get(id)?.requests,
          };
        });
    }
    const { sort } = this.columns[this.by];
    const sign = this.down ? -1 : 1;
    this.rows.sort((a, b) => {
      const [x, y] = [sort(a), sort(b)];
      return sign * (x < y ? -1 : x > y ? 1 : 0);
    });
    this.head.querySelectorAll("th").forEach((/** @type {HTMLElement} */ th, /** @type {number} */ i) => {
      if (i === this.by) th.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
    this.table.setAttribute("aria-rowcount", String(this.rows.length + 1));
    this.sig = "";
    this.paint();
  }

  paint() {
    const tall = this.box.clientHeight || 500;
    const from = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const rows = this.rows.slice(from, from + Math.ceil(tall / ROW) + 8);
    const { columns, app } = this;
    const lines = rows.map((row) =>
      columns.map((c) => c.text?.(row) ?? (c.numeric ? count(Number(c.sort(row))) : String(c.sort(row)))),
    );
    const sig = JSON.stringify([from, lines, app.selected, this.rows.length]);
    if (sig === this.sig) return;
    this.sig = sig;
    const focused =
      document.activeElement instanceof HTMLElement ? document.activeElement.dataset.row : undefined;
    const spacer = (/** @type {number} */ n) => {
      const tr = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: columns.length }));
      tr.style.height = `${n * ROW}px`;
      return tr;
    };
    this.body.replaceChildren(
      spacer(from),
      ...rows.map((row, i) =>
        h(
          "tr",
          { "aria-rowindex": from + i + 2, class: row.key === app.selected ? "chosen" : "" },
          ...columns.map((c, j) =>
            j === 0
              ? h(
                  "td",
                  {},
                  h(
                    "button",
                    { class: "link", "data-row": row.key, onclick: () => app.select(row.key, true) },
                    lines[i][0],
                  ),
                )
              : h("td", {
                  class: c.numeric ? "num" : "",
                  "data-look": c.name === "State" ? row.shown.look : null,
                  text: lines[i][j],
                }),
          ),
        ),
      ),
      spacer(Math.max(0, this.rows.length - from - rows.length)),
    );
    if (focused) this.body.querySelector(`[data-row="${CSS.escape(focused)}"]`)?.focus();
  }
}
