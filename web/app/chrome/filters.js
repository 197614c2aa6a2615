/** The filter menu. */
import { $, h } from "./dom.js";
import { kindLabel } from "../core/kinds.js";
import { noFilters } from "../map/selection.js";
import { STATUS_STYLES, STATUS_ORDER, RING_LABELS, RING_ORDER, statusOf } from "../map/status_styles.js";

/** @returns {Filters} */
export const onlyUnhealthy = () => ({
  rings: [],
  kinds: [],
  statuses: STATUS_ORDER.filter((status) => status !== "unhealthy"),
});

/** @param {Filters} filters */
export const encodeFilters = ({ rings, kinds, statuses }) =>
  isFiltering({ rings, kinds, statuses }) ? [rings, kinds, statuses].map((l) => l.join(".")).join("~") : null;

/** @param {string} [text] @returns {Filters} */
export function decodeFilters(text = "") {
  const [rings, kinds = [], statuses = []] = text.split("~").map((l) => l.split(".").filter(Boolean));
  return { rings, kinds, statuses };
}

/** @param {Filters} filters */
export const isFiltering = ({ rings, kinds, statuses }) => rings.length + kinds.length + statuses.length > 0;

/** @param {App} app */
export function renderFilters(app) {
  const { filters, mesh } = app;
  const all = [...(mesh?.backends.values() ?? [])];
  const kinds = [...new Set(all.map((b) => b.kind))];
  /** @param {"rings"|"kinds"|"statuses"} group @param {string} value @param {string} text @param {number} n */
  const tick = (group, value, text, n) =>
    h(
      "label",
      { class: "tick" },
      h("input", {
        type: "checkbox",
        checked: !filters[group].includes(value),
        onchange: (/** @type {Event} */ e) => {
          const on = /** @type {HTMLInputElement} */ (e.target).checked;
          app.filter({
            ...filters,
            [group]: on ? filters[group].filter((v) => v !== value) : [...filters[group], value],
          });
        },
      }),
      text,
      h("span", { class: "quiet", text: String(n) }),
    );
  const focused =
    document.activeElement instanceof HTMLInputElement
      ? [...$("filters").querySelectorAll("input")].indexOf(document.activeElement)
      : -1;
  $("filters").replaceChildren(
    h(
      "fieldset",
      {},
      h("legend", { text: "Ring" }),
      ...RING_ORDER.map((r) => tick("rings", r, RING_LABELS[r], all.filter((b) => b.ring === r).length)),
    ),
    h(
      "fieldset",
      {},
      h("legend", { text: "State" }),
      ...STATUS_ORDER.map((l) =>
        tick("statuses", l, `${STATUS_STYLES[l].glyph} ${l}`, all.filter((b) => statusOf(b) === l).length),
      ),
    ),
    h(
      "fieldset",
      {},
      h("legend", { text: "Kind" }),
      ...kinds.map((k) => tick("kinds", k, kindLabel(k), all.filter((b) => b.kind === k).length)),
    ),
    h(
      "button",
      { disabled: !isFiltering(filters), onclick: () => app.filter(noFilters()) },
      "Show everything",
    ),
  );
  if (focused >= 0)
    /** @type {HTMLElement|undefined} */ ($("filters").querySelectorAll("input")[focused])?.focus();
}
