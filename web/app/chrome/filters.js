/** The filter menu. */
import { $, h } from "./dom.js";
import { kindLabel } from "../core/kinds.js";
import { isFiltering, noFilters } from "../map/selection.js";
import { STATUS_ORDER, RING_LABELS, RING_ORDER, glyphOf, statusOf } from "../map/status_styles.js";

/** @param {AppState} state @param {(filters:Filters)=>void} change */
export function renderFilters({ filters, mesh }, change) {
  const all = [...(mesh?.backends.values() ?? [])];
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
  const focused = [...$("filters").querySelectorAll("input")].indexOf(document.activeElement);
  /** @type {[string, "rings"|"kinds"|"statuses", string[], (value:any)=>string, (backend:BackendView)=>string][]} */
  const groups = [
    ["Ring", "rings", RING_ORDER, (ring) => RING_LABELS[/** @type {Ring} */ (ring)], (b) => b.ring],
    ["State", "statuses", STATUS_ORDER, (status) => `${glyphOf(status)} ${status}`, statusOf],
    ["Kind", "kinds", [...new Set(all.map((b) => b.kind))], kindLabel, (b) => b.kind],
  ];
  $("filters").replaceChildren(
    ...groups.map(([title, group, values, labelOf, valueOf]) =>
      h(
        "fieldset",
        {},
        h("legend", { text: title }),
        ...values.map((v) => tick(group, v, labelOf(v), all.filter((b) => valueOf(b) === v).length)),
      ),
    ),
    h("button", { disabled: !isFiltering(filters), onclick: () => change(noFilters()) }, "Show everything"),
  );
  $("filters").querySelectorAll("input")[focused]?.focus();
}
