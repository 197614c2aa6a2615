/** The filter menu. */
import { $, h } from "./dom.js";
import { kindLabel } from "../core/kinds.js";
import { isFiltering, noFilters } from "../map/selection.js";
import { STATUS_STYLES, STATUS_ORDER, RING_LABELS, RING_ORDER, statusOf } from "../map/status_styles.js";

/** @param {AppState} state @param {(filters:Filters)=>void} change */
export function renderFilters({ filters, mesh }, change) {
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
          change({
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
    h("button", { disabled: !isFiltering(filters), onclick: () => change(noFilters()) }, "Show everything"),
  );
  if (focused >= 0)
    /** @type {HTMLElement|undefined} */ ($("filters").querySelectorAll("input")[focused])?.focus();
}
