/** A sortable table; only the rows in view are elements. */
import { $, h } from "./dom.js";
import { kindLabel } from "../core/kinds.js";
import { STATUS_ORDER, RING_LABELS, RING_ORDER, glyphOf, statusLabel } from "../map/status_styles.js";
import { routeKey } from "../core/mesh.js";
import { displayName, formatCount, hostOf, formatMs, joined } from "../core/format.js";

const ROW = 34;

/** @type {Column[]} */
const BACKENDS = [
  { name: "Backend", text: (r) => r.shown.name, sort: (r) => r.shown.name.toLowerCase() },
  {
    name: "State",
    text: (r) => `${glyphOf(statusLabel(r.shown))} ${r.shown.removed ? "removed" : statusLabel(r.shown)}`,
    sort: (r) => STATUS_ORDER.indexOf(r.shown.status),
  },
  { name: "Kind", wideOnly: true, sort: (r) => kindLabel(r.shown.kind) },
  {
    name: "Ring",
    wideOnly: true,
    text: (r) => RING_LABELS[/** @type {Ring} */ (r.shown.ring)],
    sort: (r) => RING_ORDER.indexOf(r.shown.ring),
  },
  {
    name: "Latency",
    text: (r) => formatMs(r.shown.latency),
    sort: (r) => r.shown.latency ?? Infinity,
    numeric: true,
  },
  { name: "Models", sort: (r) => r.shown.models.length, numeric: true },
  { name: "In flight", sort: (r) => r.inFlight, numeric: true },
  { name: "Requests", wideOnly: true, sort: (r) => r.work?.total ?? 0, numeric: true },
  { name: "Failed", wideOnly: true, sort: (r) => r.work?.failed ?? 0, numeric: true },
  { name: "Address", wideOnly: true, sort: (r) => hostOf(r.url) },
];

/** @type {Column[]} */
const MODELS = [
  { name: "Model", text: (r) => displayName(r.id), sort: (r) => r.id.toLowerCase() },
  {
    name: "Healthy routes",
    text: (r) => `${r.healthy} of ${r.on.length}`,
    sort: (r) => r.healthy,
    numeric: true,
  },
  {
    name: "Served by",
    wideOnly: true,
    text: (r) =>
      joined(
        r.on.map((/** @type {ShownBackend} */ b) => b.name).join(", "),
        r.offering.length &&
          `offered, not used: ${r.offering.map((/** @type {ShownBackend} */ b) => b.name).join(", ")}`,
      ),
    sort: (r) => r.on.length,
  },
  {
    name: "Best latency",
    text: (r) => formatMs(Number.isFinite(r.best) ? r.best : null),
    sort: (r) => r.best,
    numeric: true,
  },
  ...BACKENDS.slice(7, 9),
];

/** In a narrow window the panel has the others. @param {Column} column */
const classOf = ({ numeric, wideOnly }) =>
  [numeric && "num", wideOnly && "wide-only"].filter(Boolean).join(" ");

export class Table {
  /** @param {Store<AppState>} store @param {PanelContext["select"]} select */
  constructor(store, select) {
    this.store = store;
    this.select = select;
    /** @type {"backends"|"models"} */
    this.list = "backends";
    this.sortColumn = 1;
    this.isDescending = false;
    /** @type {any[]} */
    this.rows = [];
    this.signature = "";
    const [tabs, box] = $("table").children;
    this.tabs = tabs;
    this.box = box;
    this.table = box.querySelector("table");
    this.head = box.querySelector("tr");
    this.body = box.querySelector("tbody");
    box.onscroll = () => this.renderRows();
    for (const tab of tabs.children) tab.onclick = () => this.showList(tab.value);
    this.showList("backends");
    store.subscribe(
      (s) => [s.mesh, s.shown, s.servers, s.matches, s.selection, s.settings.view],
      () => this.update(),
    );
    store.subscribe(
      (s) => s.selection.key,
      (key, before) => !key && document.activeElement === document.body && this.focusRow(before),
    );
  }

  get columns() {
    return this.list === "backends" ? BACKENDS : MODELS;
  }

  /** @param {"backends"|"models"} what */
  showList(what) {
    this.list = what;
    this.sortColumn = what === "backends" ? 1 : 0;
    this.isDescending = false;
    for (const tab of this.tabs.children) tab.ariaPressed = tab.value === what;
    this.table.ariaLabel = what === "backends" ? "Backends" : "Models";
    this.table.className = what;
    this.head.replaceChildren(
      ...this.columns.map((column, i) =>
        h(
          "th",
          { scope: "col", class: classOf(column) },
          h("button", { onclick: () => this.sortBy(i) }, column.name),
        ),
      ),
    );
    this.box.scrollTop = 0;
    this.update();
  }

  /** @param {number} i */
  sortBy(i) {
    this.isDescending = this.sortColumn === i && !this.isDescending;
    this.sortColumn = i;
    this.update();
  }

  update() {
    const { mesh, shown: backends, servers, matches, moment, settings } = this.store.state;
    if (!mesh || settings.view !== "table") return;
    if (this.list === "backends") {
      this.rows = [...backends.values()]
        .filter(
          (s) =>
            !matches ||
            matches.keys.has(`b:${s.id}`) ||
            s.models.some((m) => matches.keys.has(routeKey(s.id, m))),
        )
        .map((shown) => {
          const view = mesh.backends.get(shown.id);
          return {
            key: `b:${shown.id}`,
            shown,
            work: view?.requests,
            inFlight: moment === null ? (view?.in_flight ?? 0) : 0,
            url: view?.url ?? "",
          };
        });
    } else {
      this.rows = [...servers]
        .filter(
          ([id, on]) =>
            !matches ||
            [...on, ...(mesh.offered.get(id) ?? [])].some(
              (b) => matches.keys.has(routeKey(b, id)) || matches.keys.has(`b:${b}`),
            ),
        )
        .map(([id, ids]) => {
          const on = ids.map((b) => backends.get(b)).filter((b) => b !== undefined);
          const offering = (mesh.offered.get(id) ?? []).flatMap((b) => backends.get(b) ?? []);
          const healthy = on.filter((b) => b.status === "healthy");
          const best = Math.min(...healthy.map((b) => b.latency ?? Infinity));
          return {
            key: routeKey([...healthy, ...on, ...offering][0]?.id ?? "", id),
            id,
            on,
            offering,
            healthy: healthy.length,
            best,
            work: mesh.models.get(id)?.requests,
          };
        });
    }
    const { sort } = this.columns[this.sortColumn];
    const sign = this.isDescending ? -1 : 1;
    this.rows.sort((a, b) => {
      const [x, y] = [sort(a), sort(b)];
      return sign * (x < y ? -1 : x > y ? 1 : 0);
    });
    this.head.querySelectorAll("th").forEach((/** @type {HTMLElement} */ th, /** @type {number} */ i) => {
      th.ariaSort = i === this.sortColumn ? (this.isDescending ? "descending" : "ascending") : null;
    });
    this.table.ariaRowCount = this.rows.length + 1;
    this.signature = "";
    this.renderRows();
  }

  renderRows() {
    const height = this.box.clientHeight || 500;
    const from = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const rows = this.rows.slice(from, from + Math.ceil(height / ROW) + 8);
    const { columns, select } = this;
    const selected = this.store.state.selection.key;
    const lines = rows.map((row) =>
      columns.map(
        (c) => c.text?.(row) ?? (c.numeric ? formatCount(Number(c.sort(row))) : String(c.sort(row))),
      ),
    );
    const signature = JSON.stringify([from, lines, selected, this.rows.length]);
    if (signature === this.signature) return;
    this.signature = signature;
    const focused = /** @type {HTMLElement|null} */ (document.activeElement)?.dataset.row;
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
          { "aria-rowindex": from + i + 2, class: row.key === selected ? "selected" : "" },
          ...columns.map((c, j) =>
            j === 0
              ? h(
                  "td",
                  {},
                  h(
                    "button",
                    { class: "link", "data-row": row.key, onclick: () => select(row.key, true) },
                    lines[i][0],
                  ),
                )
              : h("td", {
                  class: classOf(c),
                  "data-status": c.name === "State" ? statusLabel(row.shown) : null,
                  text: lines[i][j],
                }),
          ),
        ),
      ),
      spacer(Math.max(0, this.rows.length - from - rows.length)),
    );
    this.focusRow(focused);
  }

  /** If it is in view. @param {string|null} [key] */
  focusRow(key) {
    if (key) this.body.querySelector(`[data-row="${CSS.escape(key)}"]`)?.focus();
  }
}
